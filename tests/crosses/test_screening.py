"""Screening: planted crosses gain, noise does not, and nothing held out is ever fitted on."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nid_plugins import FrameError, SettingError
from nid_plugins.crosses import ScreenReport, fit_crosses, screen
from nid_plugins.crosses.held_out import HeldOutBase, compact
from nid_plugins.crosses.offsets import sigmoid, softplus
from nid_plugins.crosses.screening import _folds
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

CARDINALITIES = (6, 8, 10, 5, 7)


def make_world(seed=0, n=6000, planted=((0, 1),), spread=1.0):
    """Clicks from main effects and planted pairs, and a base that knows the main effects only, and those badly."""
    rng = np.random.default_rng(seed)
    schema = FeatureSchema([SparseField(f"f{i}", c) for i, c in enumerate(CARDINALITIES)])
    ids = [np.minimum(rng.zipf(1.5, n), c) - 1 for c in CARDINALITIES]
    base = -1.5 + sum(rng.normal(0, 0.4, c)[i] for i, c in zip(ids, CARDINALITIES, strict=True))
    true = base + sum(
        rng.normal(0, spread, (CARDINALITIES[a], CARDINALITIES[b]))[ids[a], ids[b]] for a, b in planted
    )
    true = true + rng.normal(0, 0.8, CARDINALITIES[2])[ids[2]]
    frame = {f"f{i}": column for i, column in enumerate(ids)}
    frame["click"] = (rng.random(n) < sigmoid(true)).astype(np.int64)
    pairs = list(itertools.combinations(schema.names, 2))
    return SimpleNamespace(
        frame=frame, label=frame["click"], base=base, crosses=fit_crosses(pairs, frame, schema)
    )


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def report(world):
    return screen(world.crosses, world.frame, "click", world.base)


def test_a_planted_cross_comes_first(report):
    best = report[0]
    assert best.name == "f0__x__f1"
    assert best.fields == ("f0", "f1")
    assert best.gain > 5 * best.error > 0
    assert best.gain > 20 * report[1].gain
    gains = [cross.gain for cross in report]
    assert gains == sorted(gains, reverse=True)
    assert "f0__x__f1" in repr(report)
    assert report.base_loss == pytest.approx(0.5, abs=0.2)


def test_noise_gains_nothing():
    gains = []
    for seed in range(30):
        world = make_world(seed, n=2500, planted=())
        report = screen(world.crosses, world.frame, "click", world.base)
        assert report.select(errors=3.0) == []
        gains += [cross.gain for cross in report]
    assert len(gains) == 300
    assert np.mean(gains) < 1e-5


def test_a_field_the_base_fits_badly_is_not_an_interaction(world, report):
    # The base lacks part of f2's own effect: without main effects every cross of f2 claims it.
    naive = {c.name: c for c in screen(world.crosses, world.frame, "click", world.base, main_effects=False)}
    honest = {c.name: c for c in report}
    for name in ("f2__x__f3", "f2__x__f4"):
        assert naive[name].gain > 5 * naive[name].error
        assert honest[name].gain < 0.1 * naive[name].gain
    assert report.main_effects_gain > 0


@pytest.mark.parametrize("main_effects", [True, False])
def test_nothing_held_out_is_fitted_on(world, main_effects):
    """With the labels of one fold turned round, what is added to that fold stays the same to the last bit."""
    label = world.label.astype(np.float64)
    order = np.argsort(_folds(5, label, 0), kind="stable")
    fold_of = _folds(5, label, 0)[order]
    rows = np.column_stack([world.frame[name] for name in world.crosses.schema.names]).astype(np.float64)[
        order
    ]
    ids = world.crosses.transform_matrix(rows).T
    added = []
    for flip in (False, True):
        y = label[order].copy()
        if flip:
            y[fold_of == 0] = 1 - y[fold_of == 0]
        base = HeldOutBase(world.base[order], y, fold_of, None)
        if main_effects:
            base.add_main_effects(rows, world.crosses)
        base.add(ids[0], world.crosses.vocabulary_sizes[0] + 1)
        added.append([fold._logits.copy() for fold in base.folds])
    assert np.array_equal(added[0][0], added[1][0])
    assert not np.array_equal(added[0][1], added[1][1]), "the other folds are fitted on it"


def test_gain_agrees_with_fitting_id_by_id(world):
    n = 1500
    frame = {name: column[:n] for name, column in world.frame.items()}
    label, base = world.label[:n].astype(np.float64), world.base[:n]
    fold_of = np.arange(n) % 4
    found = screen(world.crosses, frame, label, base, folds=fold_of, l2=4.0, main_effects=False)
    ids = world.crosses.transform(frame)
    for cross in (found[0], found[-1]):
        column = ids[:, world.crosses.names.index(cross.name)]
        shifted = base.copy()
        for fold, i in itertools.product(range(4), range(1, column.max() + 1)):
            train = (fold_of != fold) & (column == i)
            offset = 0.0
            for _ in range(50):
                p = 1 / (1 + np.exp(-base[train] - offset))
                offset += ((label[train] - p).sum() - 4 * offset) / ((p * (1 - p)).sum() + 4)
            shifted[(fold_of == fold) & (column == i)] += offset
        falls = softplus(base) - label * base - softplus(shifted) + label * shifted
        assert cross.gain == pytest.approx(falls.mean(), abs=2e-6)
        assert cross.error == pytest.approx(falls.std(ddof=1) / np.sqrt(n), rel=1e-2)
        assert cross.coverage == pytest.approx((column > 0).mean())
        assert cross.vocabulary == world.crosses.vocabulary_sizes[world.crosses.names.index(cross.name)]


def test_rows_may_come_in_any_order(world):
    fold_of = np.arange(len(world.label)) % 3
    shuffled = np.random.default_rng(0).permutation(len(world.label))
    a = screen(world.crosses, world.frame, "click", world.base, folds=fold_of)
    frame = {name: column[shuffled] for name, column in world.frame.items()}
    b = screen(world.crosses, frame, "click", world.base[shuffled], folds=fold_of[shuffled])
    assert a[0].name == b[0].name
    assert [c.gain for c in a] == pytest.approx([c.gain for c in b], abs=1e-9)


def test_same_seed_same_report(world, report):
    again = screen(world.crosses, pd.DataFrame(world.frame), world.label, world.base[:, None])
    assert list(again) == list(report)
    other = screen(world.crosses, world.frame, "click", world.base, seed=1)
    assert [c.gain for c in other] != [c.gain for c in report]
    assert other[0].name == report[0].name


def test_greedy_does_not_take_the_same_thing_twice():
    world = make_world(2, planted=((0, 1), (2, 3)))
    sets = [("f0", "f1"), ("f0", "f1", "f4"), ("f2", "f3"), ("f2", "f3", "f4"), ("f3", "f4")]
    crosses = fit_crosses(sets, world.frame, world.crosses.schema)
    plain = screen(crosses, world.frame, "click", world.base)
    assert {c.name for c in plain[:2]} != {"f0__x__f1", "f2__x__f3"}, "on its own the wider cross ranks high"
    greedy = screen(crosses, world.frame, "click", world.base, greedy=True)
    assert [c.name for c in greedy[:2]] == ["f0__x__f1", "f2__x__f3"]
    by_name = {c.name: c for c in greedy}
    for name in ("f0__x__f1__x__f4", "f2__x__f3__x__f4"):
        assert by_name[name].alone > 5 * by_name[name].error
        assert by_name[name].gain < 0.1 * by_name[name].alone
    assert {c.name: c.alone for c in greedy} == {c.name: c.gain for c in plain}
    assert [c.picked for c in greedy] == sorted((c.picked for c in greedy), reverse=True)
    assert all(c.gain > 0 for c in greedy if c.picked)


def test_lazy_picking_takes_what_measuring_everything_again_would():
    world = make_world(4, planted=((0, 1), (2, 3), (1, 4)), spread=0.7)
    lazy = screen(world.crosses, world.frame, "click", world.base, greedy=True, picks=4)
    label = world.label.astype(np.float64)
    fold_of = _folds(5, label, 0)
    order = np.argsort(fold_of, kind="stable")
    rows = np.column_stack([world.frame[name] for name in world.crosses.schema.names]).astype(np.float64)[
        order
    ]
    ids, sizes = world.crosses.transform_matrix(rows).T, [v + 1 for v in world.crosses.vocabulary_sizes]
    base = HeldOutBase(world.base[order], label[order], fold_of[order], None)
    base.add_main_effects(rows, world.crosses)
    assert sum(c.picked for c in lazy) >= 3
    for pick in (c for c in lazy if c.picked):
        gains = [base.gain(ids[k], sizes[k])[0] for k in range(len(sizes))]
        best = int(np.argmax(gains))
        assert pick.name == world.crosses.names[best]
        assert pick.gain == pytest.approx(gains[best], abs=1e-12)
        base.add(ids[best], sizes[best])
    rest = {c.name: c.gain for c in lazy if not c.picked}
    for k, name in enumerate(world.crosses.names):
        if name in rest:
            assert rest[name] == pytest.approx(base.gain(ids[k], sizes[k])[0], abs=1e-12)


def test_greedy_stops_when_nothing_helps(world):
    few = screen(world.crosses, world.frame, "click", world.base, greedy=True, picks=1)
    assert [c.picked for c in few] == [True] + [False] * 9
    noise = make_world(1, n=800, planted=())
    found = screen(noise.crosses, noise.frame, "click", noise.base, greedy=True)
    assert sum(c.picked for c in found) < len(found)
    assert all(c.gain <= 0 for c in found if not c.picked)


def test_smaller_crosses_may_be_picked_first():
    world = make_world(2, planted=((0, 1), (1, 2)))
    sets = [("f0", "f1", "f2"), ("f1", "f2"), ("f0", "f1"), ("f3", "f4")]
    crosses = fit_crosses(sets, world.frame, world.crosses.schema)
    any_order = screen(crosses, world.frame, "click", world.base, greedy=True)
    assert any_order[0].name == "f0__x__f1__x__f2", "it holds both pairs"
    found = screen(crosses, world.frame, "click", world.base, greedy=True, smaller_first=True)
    assert {c.name for c in found[:2]} == {"f0__x__f1", "f1__x__f2"}
    triple = next(c for c in found if len(c.fields) == 3)
    assert triple.gain < 0.1 * triple.alone
    assert found.settings["smaller_first"]


def test_only_certain_crosses_are_picked_when_asked_for():
    noise = make_world(1, n=800, planted=())
    found = screen(noise.crosses, noise.frame, "click", noise.base, greedy=True, l2=30.0)
    certain = screen(noise.crosses, noise.frame, "click", noise.base, greedy=True, l2=30.0, errors=2.0)
    assert sum(c.picked for c in certain) < sum(c.picked for c in found)
    assert all(c.gain > 2.0 * c.error for c in certain if c.picked)
    planted = make_world(0)
    best = screen(planted.crosses, planted.frame, "click", planted.base, greedy=True, errors=2.0)
    assert best[0].name == "f0__x__f1"
    assert best[0].picked


def test_report(world, report):
    table = report.to_frame()
    assert list(table["name"]) == [c.name for c in report]
    assert list(table.columns) == [
        "name",
        "fields",
        "gain",
        "error",
        "alone",
        "vocabulary",
        "coverage",
        "picked",
    ]
    assert len(report) == len(table) == 10
    assert report[-1] is report[9:][0]
    assert report.select(1) == ["f0__x__f1"]
    assert report.select(3, min_gain=-1) == [c.name for c in report[:3]]
    assert report.select() == [c.name for c in report if c.gain > 0]
    assert report.select(errors=3.0) == ["f0__x__f1"]
    assert report.select(min_gain=10.0) == []
    assert world.crosses.select(report.select(1)).names == ("f0__x__f1",)
    assert report.settings["main_effects"] is True
    empty = ScreenReport([], rows=0, base_loss=0.0, main_effects_gain=0.0, settings={})
    assert list(empty.to_frame().columns) == list(table.columns)


@pytest.mark.parametrize("option", [{"k": 0}, {"k": 1.5}, {"k": True}, {"min_gain": np.nan}, {"errors": "1"}])
def test_bad_selection(report, option):
    with pytest.raises(SettingError, match=next(iter(option))):
        report.select(**option)


def test_missing_values_and_unknown_ids_are_rows_without_the_cross():
    rng = np.random.default_rng(0)
    schema = FeatureSchema([SparseField("a", 4), DenseField("d"), SparseField("huge", 2**53)])
    frame = {"a": rng.integers(0, 4, 900), "d": rng.normal(size=900), "huge": rng.integers(0, 3, 900) * 2**50}
    crosses = fit_crosses([("a", "d"), ("a", "huge")], frame, schema, bins=4)
    frame["d"][::3] = np.nan
    frame["a"][::5] = 9
    label = rng.integers(0, 2, 900)
    found = {c.name: c for c in screen(crosses, frame, label, np.zeros(900))}
    assert found["a__x__d"].coverage == pytest.approx(480 / 900)
    assert found["a__x__huge"].coverage == pytest.approx(720 / 900)


def changed(world, **change):
    call = {
        "crosses": world.crosses,
        "frame": world.frame,
        "label": world.label,
        "base_logits": world.base,
    } | change
    return screen(**call)


def with_value(array, value):
    out = array.astype(np.float64)
    out[7] = value
    return out


def test_bad_input(world):
    n = len(world.label)
    for change, match in [
        ({"label": with_value(world.label, np.nan)}, r"labels must be 0 or 1.*row 7"),
        ({"label": world.label[:-1]}, "wrong number of labels"),
        ({"label": "clicked"}, "no such label column"),
        ({"label": np.zeros(n)}, "both clicks and non-clicks"),
        ({"base_logits": world.base[:-1]}, "do not fit the frame"),
        ({"base_logits": np.stack([world.base] * 2, axis=1)}, "do not fit the frame"),
        ({"base_logits": np.array(["1.0"] * n)}, "do not fit the frame"),
        ({"base_logits": with_value(world.base, np.nan)}, r"not finite.*row 7"),
        ({"base_logits": with_value(world.base, -np.inf)}, "not finite"),
        ({"frame": {name: column[:0] for name, column in world.frame.items()}}, "no rows"),
        ({"frame": {"f0": world.frame["f0"]}}, "lacks columns"),
    ]:
        with pytest.raises(FrameError, match=match):
            changed(world, **change)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"folds": 1}, "folds"),
        ({"folds": 10**6}, "folds"),
        ({"folds": True}, "folds"),
        ({"folds": "5"}, "folds"),
        ({"folds": np.zeros(6000)}, "one fold"),
        ({"folds": np.arange(5)}, "folds"),
        ({"l2": 0}, "l2"),
        ({"l2": np.inf}, "l2"),
        ({"l2": "1"}, "l2"),
        ({"picks": 0}, "picks"),
        ({"picks": 1.0}, "picks"),
        ({"errors": -1}, "errors"),
        ({"errors": True}, "errors"),
        ({"seed": -1}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"crosses": [("a", "b")]}, "not crosses"),
    ],
)
def test_bad_options(world, option, match):
    with pytest.raises(SettingError, match=match):
        changed(world, **option)


def test_compact_numbers_from_one_and_keeps_zero_for_none():
    for ids, expected, size in [
        ([7, 2**40, 7], [1, 2, 1], 3),
        ([-1, 5, 9], [0, 1, 2], 3),
        ([-1, -1], [0, 0], 1),
    ]:
        numbers, found = compact(np.array(ids))
        assert numbers.tolist() == expected
        assert found == size
