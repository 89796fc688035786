"""Faults in what is injected."""

from __future__ import annotations

import copy

import numpy as np
from spoiling import columns_of, fault


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
