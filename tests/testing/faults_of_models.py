"""Faults in how models are recognised and queried."""

from __future__ import annotations

import numpy as np
from spoiling import columns_of, fault


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
