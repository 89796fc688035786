"""Each test of the conformance suite fails on an adapter with a fault it is for, and passes without it."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest

from nid_plugins.errors import NidError
from nid_plugins.plugins import use_manager
from nid_plugins.testing import AdapterConformance, click_log

FAULTS = {}


def fault(test, **arguments):
    """Register a function that spoils the adapter or the case; it is given what it asks for by name."""

    def register(function):
        FAULTS[f"{test}: {function.__name__}"] = (test, arguments, function)
        return function

    return register


class Parts:
    """The modules of the worked adapter, and ways to change them."""

    def __init__(self, monkeypatch):
        import minifm
        from nid_minifm import inject, model, plugin, tower

        self.minifm, self.inject, self.model, self.plugin, self.tower = minifm, inject, model, plugin, tower
        self.adapter, self.predictor = plugin.MinifmAdapter, model.MinifmPredictor
        self.set = monkeypatch.setattr

    def around(self, owner, name, change):
        """Have a function return what ``change`` makes of its result and its arguments."""
        before = getattr(owner, name)
        self.set(owner, name, lambda *args, **options: change(before(*args, **options), *args))


def nothing(*args, **options):
    """What is put in place of a check."""


@fault("test_the_plugin_registers_the_adapter_without_a_problem")
def it_names_no_class(parts):
    parts.set(parts.adapter, "classes", ())


@fault("test_importing_the_plugin_imports_no_framework")
def the_module_imports_it(case, folder):
    (folder / "heavy_plugin.py").write_text(
        "import minifm\nfrom nid_minifm.plugin import *\n", encoding="utf-8"
    )
    case.plugin = "heavy_plugin"


@fault("test_its_models_are_found_by_class_path")
def the_path_is_misspelt(parts):
    parts.set(parts.adapter, "classes", ("minifm.model.Model",))


@fault("test_models_of_others_are_left_to_others")
def it_claims_layers(parts):
    parts.set(parts.adapter, "classes", ("minifm.Model", "minifm.Layer"))


@fault("test_a_strange_model_is_a_typed_error")
def it_claims_everything(parts):
    parts.set(parts.adapter, "classes", ("builtins.object",))


@fault("test_the_schema_is_read_off_the_model_or_refused")
def cardinalities_are_one_short(parts):
    def short(model):
        return {name: size and size - 1 for name, size in model.fields.items()}

    fields = parts.model.schema_of
    parts.set(parts.model, "schema_of", lambda m: fields(type("Short", (), {"fields": short(m)})))


@fault("test_the_schema_is_read_off_the_model_or_refused")
def it_is_not_declared(parts):
    parts.set(parts.adapter, "schema", parts.adapter.__base__.schema)


@fault("test_logits_agree_with_the_framework_s_own_predict")
def logits_are_scaled(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: 1.01 * out)


@fault("test_logits_agree_with_the_framework_s_own_predict")
def probabilities_are_taken_for_logits(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: 1 / (1 + np.exp(-out)))


@fault("test_logits_agree_with_the_framework_s_own_predict")
def dropout_is_at_work(parts):
    parts.set(parts.predictor, "__call__", lambda self, rows: self._model.logit(columns_of(self, rows)))


def columns_of(predictor, rows):
    return {name: rows[:, j] for j, name in enumerate(predictor._names)}


@fault("test_a_row_s_logit_does_not_depend_on_its_batch")
def the_batch_is_centred(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: out - out.mean())


@fault("test_wrapping_and_predicting_leave_the_model_as_it_was")
def it_stays_in_eval_mode(parts):
    def call(self, rows):
        self._model.training = False
        return self._model.logit(columns_of(self, rows))

    parts.set(parts.predictor, "__call__", call)


@fault("test_wrapping_and_predicting_leave_the_model_as_it_was")
def the_framework_s_generator_is_drawn_from(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: out + 0 * parts.minifm.rng.random())


@fault("test_wrapping_and_predicting_leave_the_model_as_it_was")
def numpy_is_seeded(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: (np.random.seed(0), out)[1])


@fault("test_detection_leaves_the_model_as_it_was")
def a_weight_is_moved(parts):
    def move(out, predictor, *_):
        predictor._model.layers[0].weights["table"] += 1e-9
        return out

    parts.around(parts.predictor, "__call__", move)


@fault("test_embeddings_can_be_zeroed_field_by_field_or_that_is_refused")
def zeroing_zeroes_nothing(parts, case):
    case.zeroes_embeddings = True
    parts.set(parts.predictor, "zeroed", lambda self, row, on: self(np.tile(row, (len(on), 1))))


@fault("test_embeddings_can_be_zeroed_field_by_field_or_that_is_refused")
def zeroing_is_not_refused(parts):
    parts.set(parts.predictor, "zeroed", lambda self, row, on: self(np.tile(row, (len(on), 1))))


@fault("test_the_hook_state_sees_a_step_of_training")
def the_hook_is_blind(case):
    case.state = lambda self, model: {}


@fault("test_residual_injection_is_exact_at_the_start")
def the_term_is_not_zero(parts):
    parts.around(parts.tower.CrossTower, "forward", lambda out, *_: out + 1e-15)


@fault("test_residual_injection_is_exact_at_the_start")
def the_model_itself_is_returned(parts):
    parts.set(parts.inject, "inject", lambda model, crosses, mode, options: model)


@fault("test_injection_leaves_the_model_as_it_was", mode="residual")
def layers_are_shared(parts):
    def shallow(model):
        target = copy.copy(model)
        target.layers = list(model.layers)
        return target

    parts.set(parts.inject, "copy", type("Copy", (), {"deepcopy": staticmethod(shallow)}))


@fault("test_injection_leaves_the_model_as_it_was", mode="residual")
def injection_switches_the_mode(parts):
    parts.around(parts.inject, "check_members", lambda out, crosses, declared: np.random.random())


@fault("test_injection_leaves_the_model_as_it_was", mode="rebuild")
def an_unknown_mode_is_not_refused(parts):
    inject = parts.inject.inject
    parts.set(
        parts.inject, "inject", lambda model, crosses, mode, options: inject(model, crosses, "residual", {})
    )


@fault("test_one_step_moves_the_embeddings_of_its_combinations_and_no_others", mode="residual")
def row_0_learns(parts):
    parts.around(
        parts.tower.CrossTower,
        "backward",
        lambda out, tower, *_: {
            n: g + (np.arange(len(g)) == 0)[:, None] if g.ndim > 1 else g for n, g in out.items()
        },
    )


@fault("test_one_step_moves_the_embeddings_of_its_combinations_and_no_others", mode="residual")
def both_factors_start_at_zero(parts):
    def zero(_, tower, *__):
        tower.weights = {name: np.zeros_like(own) for name, own in tower.weights.items()}

    parts.around(parts.tower.CrossTower, "__init__", zero)


@fault("test_one_step_moves_the_embeddings_of_its_combinations_and_no_others", mode="residual")
def every_row_learns(parts):
    parts.around(
        parts.tower.CrossTower,
        "backward",
        lambda out, *_: {
            n: g + 1e-3 * (np.arange(len(g)) > 0)[:, None] if g.ndim > 1 else g for n, g in out.items()
        },
    )


@fault("test_one_step_moves_the_embeddings_of_its_combinations_and_no_others", mode="residual")
def ids_are_shifted(parts):
    parts.around(parts.tower.CrossTower, "ids", lambda out, *_: np.maximum(out - 1, 0))


@fault("test_cross_embeddings_have_a_row_for_every_combination", mode="residual")
def row_0_is_left_out(parts):
    parts.around(parts.tower.CrossTower, "embeddings", lambda out, *_: {n: t[1:] for n, t in out.items()})


@fault("test_cross_embeddings_have_a_row_for_every_combination", mode="residual")
def embeddings_are_float64(parts):
    parts.around(
        parts.tower.CrossTower, "embeddings", lambda out, *_: {n: t.astype(float) for n, t in out.items()}
    )


@fault("test_cross_embeddings_have_a_row_for_every_combination", mode="residual")
def embeddings_are_the_table_itself(parts):
    parts.set(
        parts.tower.CrossTower,
        "embeddings",
        lambda tower: {name: tower.weights[f"table of {name}"] for name in tower.crosses.names},
    )


@fault("test_embeddings_carried_to_another_model_are_the_same", mode="residual")
def given_embeddings_are_ignored(parts):
    options = parts.inject.TowerOptions
    parts.set(parts.inject, "TowerOptions", type("O", (), {"of": staticmethod(lambda c, **_: options.of(c))}))


@fault("test_embeddings_carried_to_another_model_are_the_same", mode="residual")
def given_embeddings_start_with_a_term(parts):
    def shift(_, tower, *__):
        tower.weights = {name: own if own.ndim > 1 else own + 0.1 for name, own in tower.weights.items()}

    parts.around(parts.tower.CrossTower, "__init__", shift)


@fault("test_saving_and_loading_is_exact", mode="residual")
def weights_are_saved_in_half(parts):
    def halve(model, *_):
        for layer in model.layers:
            layer.weights = {n: own.astype(np.float16).astype(float) for n, own in layer.weights.items()}
        return model

    parts.around(parts.minifm, "load", halve)


@fault("test_saving_and_loading_is_exact", mode="residual")
def the_tower_is_not_saved(parts):
    def drop(model, *_):
        model.layers.pop()
        return model

    parts.around(parts.minifm, "load", drop)


@fault("test_an_injected_model_is_a_model_like_any_other", mode="residual")
def the_tower_is_not_asked(parts):
    def call(self, rows):
        bare = parts.minifm.Model(self._model.fields, self._model.layers[:-1])
        bare.training = False
        return bare.logit(columns_of(self, rows))

    parts.set(parts.predictor, "__call__", call)


@fault("test_a_model_without_crosses_has_no_embeddings")
def no_embeddings_are_returned(parts):
    parts.set(parts.adapter, "cross_embeddings", lambda self, model: {})


@fault("test_ids_in_the_graph_equal_numpy_s_on_the_golden_file")
def ids_pass_through_float32(parts):
    transform = parts.tower.CrossTower.ids
    parts.set(
        parts.tower.CrossTower,
        "ids",
        lambda tower, c: transform(tower, {n: v.astype(np.float32) for n, v in c.items()}),
    )


@fault("test_ids_in_the_graph_equal_numpy_s_on_the_golden_file")
def ids_pass_through_int32(parts):
    transform = parts.tower.CrossTower.ids

    def narrow(v):
        return v.astype(np.int32) if v.dtype.kind == "i" else v

    parts.set(
        parts.tower.CrossTower, "ids", lambda tower, c: transform(tower, {n: narrow(v) for n, v in c.items()})
    )


@fault("test_ids_in_the_graph_equal_numpy_s_on_the_golden_file")
def negative_ids_are_clipped(parts):
    transform = parts.tower.CrossTower.ids
    parts.set(
        parts.tower.CrossTower,
        "ids",
        lambda tower, c: transform(tower, {n: np.where(v == -1, 0, v) for n, v in c.items()}),
    )


@fault("test_ids_of_one_row_and_of_none")
def no_rows_make_one(parts):
    parts.around(
        parts.tower.CrossTower,
        "ids",
        lambda out, *_: out if len(out) else np.zeros((1, out.shape[1]), np.int32),
    )


@fault("test_the_inputs_carry_every_kind_of_value_but_those_said")
def losses_are_not_said(case):
    case.id_inputs = case.id_inputs[:1]


@fault("test_the_inputs_carry_every_kind_of_value_but_those_said")
def losses_are_said_that_are_none(case):
    case.not_carried = {"a negative id": "there are none"}


@fault("test_a_bad_frame_is_a_typed_error", what="missing")
def frames_are_not_checked(parts):
    import nid_plugins.frames

    parts.set(nid_plugins.frames, "check_matrix", nothing)


@fault("test_a_field_the_model_does_not_know_is_a_typed_error_or_ignored")
def further_fields_are_let_through(parts):
    parts.set(parts.model, "check_schema", nothing)


@fault("test_a_field_left_out_of_the_schema_is_a_typed_error")
def missing_fields_are_filled_in(parts):
    def call(self, rows):
        filled = {name: np.zeros(len(rows)) for name in self._model.fields}
        with parts.model.in_eval_mode(self._model):
            return self._model.logit({**filled, **columns_of(self, rows)})

    parts.set(parts.model, "check_schema", nothing)
    parts.set(parts.predictor, "__call__", call)


@fault("test_a_model_of_two_scores_a_row_is_a_typed_error")
def the_output_is_not_looked_at(parts):
    parts.set(parts.inject, "probed_output", nothing)


@fault("test_a_model_of_two_scores_a_row_is_a_typed_error")
def the_first_score_is_taken(parts):
    parts.around(parts.predictor, "__call__", lambda out, *_: out.reshape(len(out), -1)[:, 0])


@fault("test_an_unknown_way_of_input_or_output_is_a_typed_error", option="inputs")
def inputs_are_ignored(parts):
    before = parts.predictor.__init__
    parts.set(
        parts.predictor,
        "__init__",
        lambda self, model, schema, *_: before(self, model, schema, "auto", "auto"),
    )


@fault("test_an_unknown_option_of_inject_is_named", mode="residual")
def options_are_swallowed(parts):
    inject = parts.inject.inject
    parts.set(parts.inject, "inject", lambda model, crosses, mode, _: inject(model, crosses, mode, {}))


@fault("test_an_unknown_option_of_inject_is_named", mode="residual")
def an_option_is_python_s_own_error(parts):
    def strict(model, crosses, mode, options):
        raise TypeError("got an unexpected keyword argument 'embeddinsg'")

    parts.set(parts.inject, "inject", strict)


@fault("test_an_unknown_mode_is_a_typed_error")
def rebuild_is_taken_for_residual(parts):
    an_unknown_mode_is_not_refused(parts)


@fault("test_columns_are_claimed_only_where_models_can_be_rebuilt")
def all_columns_are_claimed(parts):
    parts.set(parts.adapter, "claims_columns", lambda self, columns: True)


@fault("test_crosses_of_another_schema_are_a_typed_error", mode="residual")
def members_are_not_checked(parts):
    parts.set(parts.inject, "check_members", nothing)


@fault("test_embeddings_that_do_not_fit_are_a_typed_error", mode="residual", what="shape")
def embeddings_are_not_checked(parts):
    given_embeddings_are_ignored(parts)


@fault("test_the_same_crosses_twice_are_a_typed_error")
def crosses_are_stacked(parts):
    parts.set(parts.inject, "embeddings_of", nothing)


def run(case, test, arguments, folder):
    """Call one test as pytest would."""
    one, log = case(), click_log(dense=case.dense)
    offered = {"log": log, "tmp_path": folder, **arguments}
    wanted = inspect.signature(getattr(one, test)).parameters
    with use_manager(one.manager()):
        if {"source", "target"} & set(wanted):
            offered["source"] = one.trained(one.model_of(log), log)
        if "target" in wanted:
            offered["target"] = one.trained(one.injected("residual", offered["source"], log), log, 3)
        getattr(one, test)(**{name: offered[name] for name in wanted})


@pytest.mark.filterwarnings("ignore::nid_plugins.errors.NidWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name, case, monkeypatch, tmp_path):
    test, arguments, spoil = FAULTS[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    folders = [tmp_path / kind for kind in ("sound", "faulty")]
    for folder in folders:
        folder.mkdir()
    run(type("Sound", (case,), {}), test, arguments, folders[0])
    faulty = type("Faulty", (case,), {})
    offered = {"parts": Parts(monkeypatch), "case": faulty, "folder": tmp_path}
    spoil(**{name: offered[name] for name in inspect.signature(spoil).parameters})
    # What pytest.raises and pytest.fail raise is not an Exception.
    failures = (AssertionError, pytest.fail.Exception, NidError, TypeError, ValueError, AttributeError)
    with pytest.raises(failures):
        run(faulty, test, arguments, folders[1])


def test_every_test_of_the_suite_finds_some_fault():
    tests = {name for name in dir(AdapterConformance) if name.startswith("test_")}
    of_builders = {"test_a_builder_that_fails_is_a_typed_error"}  # which the worked adapter has none of
    assert {test for test, *_ in FAULTS.values()} | of_builders == tests
