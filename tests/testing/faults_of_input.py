"""Faults in cross ids and in how bad input is met."""

from __future__ import annotations

import numpy as np
from faults_of_injection import an_unknown_mode_is_not_refused, given_embeddings_are_ignored
from spoiling import columns_of, fault, nothing

import nid_plugins.frames


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
