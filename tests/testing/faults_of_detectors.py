"""Faults of the worked detector, each with the test of the suite that is to find it."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np

FAULTS = {}

PLUGIN = """
{before}
from nid_plugins import hookimpl


@hookimpl
def nid_register_detectors(register):
    from nid_forest.detector import ForestH

    register({what})
"""


def fault(test, **arguments):
    """Register a function that spoils the detector's class, the case or the plug-in; it is given what it asks for."""

    def register(function):
        FAULTS[f"{test}: {function.__name__}"] = (test, arguments, function)
        return function

    return register


def another_plugin(case, folder, name, before="", what="ForestH()"):
    (folder / f"{name}.py").write_text(PLUGIN.format(before=before, what=what), encoding="utf-8")
    case.plugin = name


def changed(spoil, method, change):
    """Have a method return what ``change`` makes of its result and its arguments."""
    before = getattr(spoil.detector, method)
    spoil.set(method, lambda self, *args: change(before(self, *args), *args))


def each(spoil, change):
    """Change every explanation."""
    changed(spoil, "fit", lambda found, *_: [change(one) for one in found])


# How it is found and set


@fault("test_the_plugin_registers_the_detector_without_a_problem")
def the_class_is_registered(case, folder):
    another_plugin(case, folder, "registers_a_class", what="ForestH")


@fault("test_the_plugin_registers_the_detector_without_a_problem")
def a_hook_is_misspelt(case, folder):
    before = "from nid_plugins import hookimpl\n@hookimpl\ndef nid_register_detector(register): ..."
    another_plugin(case, folder, "misspells", before=before)


@fault("test_registering_it_imports_no_library")
def the_plugin_imports_it(case, folder):
    another_plugin(case, folder, "imports_early", before="import sklearn")


@fault("test_registering_it_imports_no_library")
def registering_imports_it(case, folder):
    another_plugin(case, folder, "imports_on_registering", what='[ForestH(), __import__("sklearn")][0]')


@fault("test_options_are_set_by_name_and_told_in_the_report")
def setting_options_changes_the_one_registered(spoil):
    def configured(self, **options):
        for name, value in options.items():
            object.__setattr__(self, name, value)
        return self

    spoil.set("configured", configured)


@fault("test_options_are_set_by_name_and_told_in_the_report")
def options_are_not_told(spoil):
    changed(spoil, "options", lambda told: {k: v for k, v in told.items() if k != "share"})


@fault("test_options_are_set_by_name_and_told_in_the_report")
def a_default_is_told_for_what_was_chosen(spoil):
    changed(spoil, "options", lambda told: {**told, "leaf": 2})


@fault("test_every_option_is_tried")
def one_is_not_tried_with_bad_values(case):
    case.bad_options = {k: v for k, v in case.bad_options.items() if k != "leaf"}


@fault("test_every_option_is_tried")
def another_value_is_the_same_one(case):
    case.other_options = {**case.other_options, **case.options}


@fault("test_a_bad_option_is_a_typed_error_before_the_model_is_asked")
def options_are_not_checked(spoil):
    spoil.set("__post_init__", lambda self: None)


@fault("test_a_bad_option_is_a_typed_error_before_the_model_is_asked")
def options_are_checked_when_it_fits(spoil):
    check, fit = spoil.detector.__post_init__, spoil.detector.fit
    spoil.set("__post_init__", lambda self: None)
    spoil.set("fit", lambda self, *args: (check(self), fit(self, *args))[1])


@fault("test_a_bad_option_is_a_typed_error_before_the_model_is_asked")
def a_bad_option_is_python_s_own_error(spoil):
    def check(self):
        if not 0 < self.share <= 1:
            raise ValueError("share")

    spoil.set("__post_init__", check)


@fault("test_an_unknown_option_is_named")
def unknown_options_are_swallowed(spoil):
    names = {f.name for f in dataclasses.fields(spoil.detector)}
    spoil.set(
        "configured",
        lambda self, **o: dataclasses.replace(self, **{k: v for k, v in o.items() if k in names}),
    )


# Masks


@fault("test_masks_begin_with_the_instance_and_random_ones", fields=8)
def the_instance_is_not_among_them(spoil):
    changed(spoil, "masks", lambda masks, *_: masks[1:])


@fault("test_masks_begin_with_the_instance_and_random_ones", fields=8)
def masks_are_numbers(spoil):
    changed(spoil, "masks", lambda masks, *_: masks.astype(float))


@fault("test_masks_begin_with_the_instance_and_random_ones", fields=8)
def masks_have_a_seed_of_their_own(spoil):
    masks = spoil.detector.masks
    spoil.set("masks", lambda self, p, rows, rng: masks(self, p, rows, np.random.default_rng(0)))


@fault("test_masks_begin_with_the_instance_and_random_ones", fields=8)
def a_field_is_always_on(spoil):
    changed(spoil, "masks", lambda masks, *_: masks | (np.arange(masks.shape[1]) == 0))


@fault("test_masks_begin_with_the_instance_and_random_ones", fields=3)
def no_row_is_said_to_be_random(spoil):
    spoil.set("random_rows", lambda self, masks: 0)


# Answers


@fault("test_answers_keep_to_the_contract", fields=8)
def an_explanation_is_missing(spoil):
    changed(spoil, "fit", lambda found, *_: found[:-1])


@fault("test_answers_keep_to_the_contract", fields=8)
def members_are_not_ascending(spoil):
    each(spoil, lambda one: dataclasses.replace(one, sets=[members[::-1] for members in one.sets]))


@fault("test_answers_keep_to_the_contract", fields=3)
def single_fields_are_sets(spoil):
    each(
        spoil,
        lambda one: dataclasses.replace(one, sets=[(0,), *one.sets], strengths=np.r_[9.0, one.strengths]),
    )


@fault("test_answers_keep_to_the_contract", fields=8)
def a_set_comes_twice(spoil):
    each(
        spoil,
        lambda one: dataclasses.replace(
            one, sets=one.sets[:1] + one.sets, strengths=np.r_[one.strengths[:1], one.strengths]
        ),
    )


@fault("test_answers_keep_to_the_contract", fields=8)
def strengths_have_signs(spoil):
    each(spoil, lambda one: dataclasses.replace(one, strengths=-one.strengths))


@fault("test_answers_keep_to_the_contract", fields=8)
def the_weakest_comes_first(spoil):
    each(spoil, lambda one: dataclasses.replace(one, sets=one.sets[::-1], strengths=one.strengths[::-1]))


@fault("test_answers_keep_to_the_contract", fields=8)
def pair_strengths_are_a_triangle(spoil):
    each(spoil, lambda one: dataclasses.replace(one, pairs=np.triu(one.pairs)))


@fault("test_answers_keep_to_the_contract", fields=8)
def fields_interact_with_themselves(spoil):
    each(spoil, lambda one: dataclasses.replace(one, pairs=one.pairs + np.eye(len(one.pairs))))


@fault("test_answers_keep_to_the_contract", fields=8)
def a_constant_interacts(spoil):
    each(
        spoil,
        lambda one: one if one.sets else dataclasses.replace(one, sets=[(0, 1)], strengths=np.array([1e-9])),
    )


@fault("test_answers_keep_to_the_contract", fields=8)
def positions_are_shifted(spoil):
    each(
        spoil,
        lambda one: dataclasses.replace(one, sets=[tuple(sorted((m + 1) % 8 for m in s)) for s in one.sets]),
    )


@fault("test_an_instance_does_not_depend_on_its_neighbours")
def logits_are_centred_over_instances(spoil):
    fit = spoil.detector.fit
    spoil.set("fit", lambda self, state, y, seeds: fit(self, state, y - 0.1 * y.mean(axis=0), seeds))


@fault("test_an_instance_does_not_depend_on_its_neighbours")
def seeds_are_those_of_places(spoil):
    fit = spoil.detector.fit
    spoil.set(
        "fit",
        lambda self, state, y, seeds: fit(self, state, y, [np.random.SeedSequence(i) for i in range(len(y))]),
    )


@fault("test_an_instance_does_not_depend_on_its_neighbours")
def main_effects_are_taken_out_of_all_at_once(spoil):
    # Rounding is then that of a product of other sizes, and trees split elsewhere: as the detector did at first.
    class Given:
        def __init__(self, design, left):
            self._design, self._left = design, left

        def __getattr__(self, name):
            return getattr(self._design, name)

        def residuals(self, targets):
            return self._left[None]

    def together(self, state, y, seeds):
        parts = zip(state.residuals(y), y, seeds, strict=True)
        return [self._one(Given(state, left), logits, seed) for left, logits, seed in parts]

    spoil.set("fit", together)


@fault("test_randomness_comes_from_the_seeds_alone")
def numpy_is_seeded(spoil):
    changed(spoil, "fit", lambda found, *_: (np.random.seed(0), found)[1])


@fault("test_randomness_comes_from_the_seeds_alone")
def the_global_generator_is_used(spoil):
    def jitter(one):
        return dataclasses.replace(one, strengths=one.strengths * (1 + 1e-6 * np.random.random()))

    each(spoil, jitter)


@fault("test_masks_and_logits_are_left_as_they_are")
def logits_are_centred_in_place(spoil):
    def spoilt(found, state, targets, seeds):
        targets -= targets.mean(axis=1, keepdims=True)
        return found

    changed(spoil, "fit", spoilt)


@fault("test_masks_and_logits_are_left_as_they_are")
def masks_are_turned_in_place(spoil):
    def spoilt(state, masks):
        masks[1:] = ~masks[1:]
        return state

    changed(spoil, "prepare", spoilt)


@fault("test_what_was_prepared_serves_again_and_again")
def the_state_remembers(spoil):
    asked = []

    def remember(found, state, *_):
        asked.append(state)
        scale = 1.0 + 0.01 * len(asked)
        return [dataclasses.replace(one, strengths=one.strengths * scale) for one in found]

    changed(spoil, "fit", remember)


@fault("test_it_can_be_sent_to_another_process")
def it_holds_a_lock(spoil):
    before = spoil.detector.__post_init__
    spoil.set(
        "__post_init__", lambda self: (before(self), object.__setattr__(self, "lock", threading.Lock()))[0]
    )


@fault("test_it_can_be_sent_to_another_process")
def it_forgets_its_options_on_the_way(spoil):
    spoil.set("__reduce__", lambda self: (type(self), ()))


@fault("test_few_masks_are_enough_or_a_typed_error")
def it_stumbles_over_few(spoil):
    changed(spoil, "fit", lambda found, state, y, seeds: [found[i] for i in range(len(y)) if y[i][100] < 1e9])


# What it finds


@fault("test_planted_pairs_lead_the_ranking")
def pairs_without_main_effects_are_missed(spoil):
    def without(one):
        kept = [k for k, members in enumerate(one.sets) if members != (2, 3)]
        return dataclasses.replace(one, sets=[one.sets[k] for k in kept], strengths=one.strengths[kept])

    each(spoil, without)


@fault("test_planted_pairs_lead_the_ranking")
def it_finds_nothing(spoil):
    each(spoil, lambda one: dataclasses.replace(one, sets=[], strengths=np.empty(0)))


@fault("test_planted_pairs_lead_the_ranking")
def its_explainer_is_no_better_than_main_effects(spoil):
    each(spoil, lambda one: dataclasses.replace(one, r2=0.9))


@fault("test_a_planted_triple_is_found_or_not_promised")
def triples_are_promised(case):
    case.order = 3


@fault("test_a_planted_triple_is_found_or_not_promised")
def triples_are_not_told_of(spoil):
    def more(one):
        return dataclasses.replace(one, sets=[(5, 6, 7), *one.sets], strengths=np.r_[9.0, one.strengths])

    each(spoil, more)


@fault("test_an_additive_model_has_no_interactions")
def its_fit_is_misjudged(spoil):
    each(spoil, lambda one: dataclasses.replace(one, r2=0.5))


@fault("test_an_additive_model_has_no_interactions")
def it_stumbles_over_an_additive_model(spoil):
    def scaled(one):
        return dataclasses.replace(
            one, strengths=one.strengths / max(one.strengths)
        )  # of no sets: ValueError

    each(spoil, scaled)


@fault("test_a_constant_model_has_none_and_is_no_error")
def a_constant_is_explained_perfectly(spoil):
    each(spoil, lambda one: dataclasses.replace(one, r2=1.0))


@fault("test_the_same_seed_gives_the_same_report")
def it_draws_anew(spoil):
    forest = spoil.detector._forest
    spoil.set("_forest", lambda self, masks, left, seed: forest(self, masks, left, np.random.SeedSequence()))
