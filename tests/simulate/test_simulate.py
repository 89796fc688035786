"""The simulated log: deterministic, cut into chunks at will, and true to its plan."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.frames import read_matrix
from nid_plugins.metrics import sigmoid
from nid_plugins.simulate import DEFAULT_FIELDS, FieldPlan, Plan, World, simulate

SMALL = (FieldPlan("a", 4), FieldPlan("b", 6), FieldPlan("c", 5), FieldPlan("x"), FieldPlan("y"))


def same(one, two):
    return all(np.array_equal(one.frame[name], two.frame[name]) for name in one.frame) and np.array_equal(
        one.label, two.label
    )


def test_same_seed_same_log_and_another_seed_another():
    assert same(simulate(500, seed=3), simulate(500, seed=3))
    assert not same(simulate(500, seed=3), simulate(500, seed=4))


def test_a_longer_log_starts_with_the_shorter_one():
    short, long = simulate(300, seed=1), simulate(9000, seed=1)
    assert same(short, long.rows(slice(0, 300)))
    assert short.planted == long.planted
    assert np.array_equal(short.logit, long.logit[:300])


@pytest.mark.parametrize("size", [1000, 4096, 5000, 20_000])
def test_chunks_are_the_log_however_it_is_cut(size):
    world = World(Plan(fields=SMALL, pairs=1, triples=1), seed=5)
    chunks = list(world.chunks(10_500, size))
    whole = world.draw(10_500)
    assert [len(chunk) for chunk in chunks] == [min(size, 10_500 - s) for s in range(0, 10_500, size)]
    for name, values in whole.frame.items():
        assert np.array_equal(np.concatenate([chunk.frame[name] for chunk in chunks]), values)
    assert np.array_equal(np.concatenate([chunk.label for chunk in chunks]), whole.label)


def test_the_frame_fits_its_schema():
    log = simulate(5000, seed=0)
    assert read_matrix(log.frame, log.schema).shape == (5000, len(DEFAULT_FIELDS))
    assert all(field.oov == 0 for field in log.schema.sparse)
    assert {len(log.frame[name]) for name in log.schema.names} == {5000}
    assert set(np.unique(log.label)) == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_drawn_from_the_true_probability_at_the_rate_asked_for(seed):
    log = simulate(40_000, seed=seed, ctr=0.15)
    probability = sigmoid(log.logit)
    error = np.sqrt((probability * (1 - probability)).sum()) / len(log)
    assert abs(log.label.mean() - probability.mean()) < 4 * error
    assert abs(probability.mean() - 0.15) < 0.01
    for low, high in itertools.pairwise(np.quantile(probability, [0, 0.25, 0.5, 0.75, 1])):
        bin_ = (probability >= low) & (probability < high)
        expected = probability[bin_]
        tolerance = 4 * np.sqrt((expected * (1 - expected)).sum()) / bin_.sum()
        assert abs(log.label[bin_].mean() - expected.mean()) < tolerance


def test_default_plan_has_the_number_of_sets_it_says_and_no_set_inside_another():
    for seed in range(5):
        log = simulate(10, seed=seed)
        sizes = [len(planted.fields) for planted in log.planted]
        assert (sizes.count(2), sizes.count(3)) == (Plan().pairs, Plan().triples)
        assert not any(a < b for a in log.planted_sets for b in log.planted_sets)
        for one in log.planted:
            assert not {"campaign", "advertiser"} <= set(one.fields)


def test_sets_can_be_asked_for_and_come_in_schema_order():
    log = simulate(10, fields=SMALL, planted=(("x", "a"), ("c", "b", "a")), strength=0.5, triple_strength=0.7)
    assert [(one.fields, one.strength) for one in log.planted] == [(("a", "x"), 0.5), (("a", "b", "c"), 0.7)]


@pytest.mark.parametrize("members", [("a", "b"), ("a", "x"), ("x", "y"), ("a", "b", "c"), ("a", "c", "x")])
@pytest.mark.parametrize("idiosyncratic", [0.0, 0.5, 1.0])
def test_a_planted_effect_has_the_strength_asked_for_and_no_main_effect(members, idiosyncratic):
    log = simulate(
        100_000, fields=SMALL, planted=(members,), strength=0.9, idiosyncratic=idiosyncratic, seed=2
    )
    effect = log.logit - log.main_logit
    assert effect.std() == pytest.approx(0.9, rel=0.05)
    for name in log.schema.names:
        values = log.frame[name]
        code = np.digitize(values, np.quantile(values, [0.2, 0.4, 0.6, 0.8])) if name in "xy" else values
        for value in np.unique(code):
            part = effect[code == value]
            # Zero but for sampling: five standard errors.
            assert abs(part.mean()) < 5 * part.std() / np.sqrt(len(part)) + 1e-9


def test_heredity_decides_whether_a_triple_shows_in_its_pairs():
    def share_in_pairs(heredity):
        log = simulate(
            60_000,
            fields=SMALL,
            planted=(("a", "b", "c"),),
            heredity=heredity,
            idiosyncratic=0.0,
            unknown=0.0,
        )
        effect = log.logit - log.main_logit
        explained = 0.0
        for one, other in itertools.combinations("abc", 2):
            key = log.frame[one] * 100 + log.frame[other]
            _, at = np.unique(key, return_inverse=True)
            explained += (np.bincount(at, effect) / np.bincount(at))[at].var()
        return explained / effect.var()

    assert share_in_pairs(0.0) < 0.02
    assert share_in_pairs(0.5) == pytest.approx(0.5, abs=0.05)


def test_without_planted_sets_the_truth_is_its_main_effects():
    log = simulate(2000, pairs=0, triples=0)
    assert log.planted == ()
    assert np.array_equal(log.logit, log.main_logit)
    assert log.auc_of_truth() == log.auc_of_main_effects()


def test_interactions_matter_by_default():
    log = simulate(40_000, seed=0)
    assert log.auc_of_truth() > log.auc_of_main_effects() + 0.15


def test_unknown_values_have_id_0_at_the_rate_asked_for_and_no_effect():
    log = simulate(50_000, fields=SMALL, planted=(("a", "b"),), unknown=0.1)
    unknown = log.frame["a"] == 0
    assert unknown.mean() == pytest.approx(0.1, abs=0.01)
    assert np.array_equal(log.logit[unknown], log.main_logit[unknown])


def test_a_parent_is_a_function_of_its_child_and_covers_its_ids():
    log = simulate(30_000)
    child, parent = log.frame["campaign"], log.frame["advertiser"]
    for value in np.unique(child):
        assert len(np.unique(parent[child == value])) == 1
    assert np.array_equal(child == 0, parent == 0)
    assert len(np.unique(parent)) == log.schema["advertiser"].cardinality


def test_categories_follow_zipfs_law():
    log = simulate(60_000, fields=(FieldPlan("a", 20), FieldPlan("b", 3)), pairs=0, triples=0, zipf=1.0)
    counts = np.sort(np.bincount(log.frame["a"])[1:])[::-1]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)


def test_a_field_of_one_category_takes_part_without_effect():
    log = simulate(
        1000, fields=(FieldPlan("one", 1), FieldPlan("b", 5)), planted=(("one", "b"),), unknown=0.0
    )
    assert np.allclose(log.logit, log.main_logit)


@pytest.mark.parametrize(
    "settings",
    [
        {"pairs": 99},
        {"pairs": -1},
        {"strength": float("nan")},
        {"triple_strength": -0.1},
        {"rank": 0},
        {"ctr": 0.0},
        {"ctr": 1.0},
        {"zipf": -1},
        {"unknown": 1.0},
        {"idiosyncratic": 1.5},
        {"heredity": -0.5},
        {"planted": (("device",),)},
        {"planted": (("device", "device"),)},
        {"planted": (("device", "nosuch"),)},
        {"fields": ()},
        {"fields": (FieldPlan("a", 3), FieldPlan("a", 4))},
        {"fields": (FieldPlan("a", -3),)},
        {"fields": (FieldPlan("a", 3, parent="b"), FieldPlan("b", 9))},
        {"fields": (FieldPlan("a", 3, parent="b"), FieldPlan("b"))},
        {"fields": (FieldPlan("a", 3, parent="c"), FieldPlan("b", 3, parent="c"), FieldPlan("c", 2))},
        {"nosuch": 1},
        {"seed": -1},
        {"seed": 1.5},
        {"rows": 0},
        {"rows": 2.5},
    ],
)
def test_settings_out_of_their_domain_are_refused(settings):
    with pytest.raises(SettingError):
        simulate(**{"rows": 10, **settings})


def test_the_truth_is_known_for_impressions_put_together_by_hand():
    world = World(seed=2)
    log = world.draw(3000)
    np.testing.assert_array_equal(world.logit(log.frame), log.logit)
    other = log.frame | {"site": log.frame["site"][::-1]}
    assert not np.array_equal(world.logit(other), log.logit)
    with pytest.raises(FrameError, match="lacks columns"):
        world.logit({"site": log.frame["site"]})
    with pytest.raises(FrameError, match="out of range"):
        world.logit(log.frame | {"device": np.full(3000, 99)})
