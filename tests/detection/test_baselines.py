"""What off fields hold: modes and means, reserved ids, background rows, zeroed embeddings, a plug-in's own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins import hookimpl
from nid_plugins.adapter import Predictor
from nid_plugins.blackbox import BlackBox
from nid_plugins.detection.baselines import Baseline, Mode, Oov, Sample, ZeroEmbedding, check_background
from nid_plugins.detection.masks import perturb, random_masks


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pair():
    return nid.FeatureSchema([nid.SparseField("id", 5, oov=4), nid.DenseField("x")])


def test_mode_and_mean(pair, rng):
    background = np.array([[3.0, 1.0], [1.0, 2.0], [3.0, 6.0], [0.0, -1.0]])
    assert Mode().values(background, pair, rng).tolist() == [3.0, 2.0]


def test_equally_frequent_ids_go_to_the_smaller(pair, rng):
    background = np.array([[3.0, 0.0], [2.0, 0.0], [3.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    assert Mode().values(background, pair, rng)[0] == 2.0


def test_mode_learns_each_background_and_schema_anew(pair, rng):
    mode = Mode()
    one, other = np.array([[1.0, 5.0]]), np.array([[2.0, 7.0]])
    assert mode.values(one, pair, rng).tolist() == [1.0, 5.0]
    assert mode.values(other, pair, rng).tolist() == [2.0, 7.0]
    assert mode.values(one, pair, rng).tolist() == [1.0, 5.0]
    ids = np.array([[1.0, 5.0], [1.0, 9.0], [3.0, 9.0]])
    swapped = nid.FeatureSchema([nid.DenseField("id"), nid.SparseField("x", 10)])
    assert mode.values(ids, pair, rng).tolist() == [1.0, 23 / 3]
    assert mode.values(ids, swapped, rng).tolist() == [5 / 3, 9.0]


def test_mode_does_not_keep_the_background_alive(pair, rng):
    mode = Mode()
    background = np.zeros((10, 2))
    mode.values(background, pair, rng)
    gone = weakref.ref(background)
    del background
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("baseline", [Mode(), Oov()])
@pytest.mark.parametrize("n", [3, 6, 7, 100])
def test_the_mean_of_a_constant_is_the_constant(baseline, n, pair, rng):
    # np.full(3, 0.1).mean() is 0.10000000000000002.
    background = np.column_stack([np.ones(n), np.full(n, 0.1)])
    assert baseline.values(background, pair, rng)[1] == 0.1


def test_oov_takes_the_reserved_id_and_the_mean(pair, rng):
    background = np.array([[0.0, 1.0], [1.0, 4.0]])
    assert Oov().values(background, pair, rng).tolist() == [4.0, 2.5]


def test_oov_needs_a_reserved_id_and_names_the_field(box, frame):
    with pytest.raises(nid.SchemaError, match="field 'a'.*oov=ID.*mode") as caught:
        nid.detect(box, frame, baseline="oov", instances=2, perturbations=50, progress=False)
    assert caught.value.field == "a"


def test_sample_draws_background_rows_one_an_instance(pair):
    background = np.arange(40.0).reshape(20, 2)
    drawn = [Sample().values(background, pair, np.random.default_rng(seed)) for seed in range(60)]
    assert all(any(np.array_equal(row, b) for b in background) for row in drawn)
    assert len({row[0] for row in drawn}) > 10
    again = Sample().values(background, pair, np.random.default_rng(7))
    assert np.array_equal(again, drawn[7])


def test_sample_gives_each_instance_its_own_row_and_the_seed_decides(box, frame, small):
    seen = []

    class Recording(Sample):
        name = "recording"

        def values(self, background, schema, rng):
            seen.append(super().values(background, schema, rng).tolist())
            return np.array(seen[-1])

    class Plugin:
        @hookimpl
        def nid_register_baselines(self, register):
            register(Recording())

    manager = nid.get_manager()
    manager.register(Plugin(), "recording")
    try:
        for seed in (0, 0, 1):
            nid.detect(box, frame, baseline="recording", seed=seed, **small)
    finally:
        manager.unregister("recording")
    first, again, other = seen[:20], seen[20:40], seen[40:]
    assert first == again
    assert first != other
    assert len({tuple(row) for row in first}) > 5


class Tables(Predictor):
    """A bilinear model with embedding tables that can be zeroed field by field."""

    output = "logit"

    def __init__(self):
        rng = np.random.default_rng(8)
        self.left, self.right = rng.normal(size=(5, 3)), rng.normal(size=(6, 3))

    def score(self, left, right, x):
        return (left * right).sum(axis=1) + 0.5 * x

    def __call__(self, rows):
        ids = rows.astype(int)
        return self.score(self.left[ids[:, 0]], self.right[ids[:, 1]], rows[:, 2])

    def zeroed(self, row, on):
        i, j = int(row[0]), int(row[1])
        return self.score(self.left[i] * on[:, :1], self.right[j] * on[:, 1:2], row[2] * on[:, 2])


@pytest.fixture
def tables():
    schema = nid.FeatureSchema([nid.SparseField("l", 5), nid.SparseField("r", 6), nid.DenseField("x")])
    return BlackBox(Tables(), schema, adapter="tables", batch_size=64, epsilon=1e-7)


def test_zero_embedding_zeroes_what_is_off(tables):
    row = np.array([2.0, 3.0, 1.5])
    masks = random_masks(3, 40, np.random.default_rng(0))
    zero = ZeroEmbedding()
    off = zero.values(np.empty((0, 3)), tables.schema, np.random.default_rng(0))
    got = zero.query(tables, row, off, masks)
    whole = tables.logits_of(row[None])[0]
    product = whole - 0.75
    expected = product * (masks[:, 0] & masks[:, 1]) + 0.75 * masks[:, 2]
    assert got[0] == whole
    assert np.allclose(got, expected, rtol=0, atol=1e-12)


def test_zero_embedding_needs_no_background_and_finds_the_product(tables):
    report = nid.explain(tables, {"l": 2, "r": 3, "x": 1.5}, baseline="zero_embedding", perturbations=200)
    assert report.top(2) == [("l", "r")]
    # Id 0 has an embedding like any other: it is not taken for an off field.
    zeros = nid.explain(tables, {"l": 0, "r": 0, "x": 0.0}, baseline="zero_embedding", perturbations=200)
    assert zeros.top(2) == [("l", "r")]
    assert set(zeros.unswitched.values()) == {0.0}


def test_zero_embedding_on_a_plain_callable_says_what_to_do(box, frame):
    with pytest.raises(nid.UnsupportedError, match="cannot be zeroed.*mode"):
        nid.detect(box, frame, baseline="zero_embedding", instances=2, perturbations=50, progress=False)


@pytest.mark.parametrize("baseline", ["mode", "sample"])
def test_explain_without_a_background_says_so(box, baseline):
    row = {"a": 1, "b": 0.5, "c": 0.5, "d": 2, "e": 0}
    with pytest.raises(nid.SettingError, match="needs a background.*training frame"):
        nid.explain(box, row, baseline=baseline, perturbations=50)


def test_detect_takes_the_rows_as_background_when_there_is_none(box, frame, small):
    assert nid.detect(box, frame, **small) == nid.detect(box, frame, background=frame, **small)


def test_an_empty_background_stands_for_none():
    assert check_background(ZeroEmbedding(), None, 7).shape == (0, 7)
    rows = np.ones((2, 3))
    assert check_background(Mode(), rows, 3) is rows


def test_unknown_baseline_lists_the_known(box, frame, small):
    with pytest.raises(nid.SettingError, match="unknown baseline.*'mode', 'oov', 'sample', 'zero_embedding'"):
        nid.detect(box, frame, baseline="median", **small)


class Corner(Baseline):
    """The largest value seen."""

    name = "corner"

    def values(self, background, schema, rng):
        return background.max(axis=0)


def register_baselines(*baselines):
    class Plugin:
        @hookimpl
        def nid_register_baselines(self, register):
            for baseline in baselines:
                register(baseline)

    return Plugin()


def test_a_third_party_baseline_is_used_by_name(schema, frame, small, plugin):
    plugin(register_baselines(Corner()))
    seen = []

    def model(columns):
        seen.append(columns["b"].copy())
        return columns["b"] * columns["c"]

    report = nid.detect(nid.wrap(model, schema, output="logit"), frame, baseline="corner", **small)
    assert report.settings["baseline"] == "corner"
    assert report.top(5) == [("b", "c")]
    assert np.isin(np.float32(frame["b"].max()), np.concatenate(seen))
    # Every instance's rows hold either its own value or the corner.
    assert all(len(np.unique(part)) <= 2 for part in seen)


def test_equal_on_and_off_is_what_cannot_interact():
    row, off = np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 3.0])
    assert Corner().unswitched(row, off).tolist() == [True, False, True]
    assert ZeroEmbedding().unswitched(row, row).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda rows: rows.max(axis=0)[:-1], "values.*shape \\(4,\\)"),
        (lambda rows: rows.max(axis=0)[:, None], "values.*shape \\(5, 1\\)"),
        (lambda rows: np.full(5, np.nan), "values"),
    ],
)
def test_a_baseline_of_the_wrong_shape_is_named(box, frame, small, plugin, broken, what):
    class Broken(Baseline):
        name = "broken"

        def values(self, background, schema, rng):
            return broken(background)

    plugin(register_baselines(Broken()))
    with pytest.raises(nid.PluginError, match=f"'broken' returned unusable {what}"):
        nid.detect(box, frame, baseline="broken", **small)


@pytest.mark.parametrize("answer", [lambda y: y[1:], lambda y: y * np.nan])
def test_a_baseline_whose_query_goes_wrong_is_named(box, frame, small, plugin, answer):
    class Wrong(Corner):
        name = "wrong"

        def query(self, box, row, values, masks):
            return answer(box.logits_of(perturb(row, values, masks)))

    plugin(register_baselines(Wrong()))
    with pytest.raises(nid.PluginError, match="'wrong' returned unusable logits"):
        nid.detect(box, frame, baseline="wrong", **small)
