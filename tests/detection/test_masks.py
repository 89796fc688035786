"""Masks, the exact perturbation, and the regression design the masks make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.masks import MIN_ROWS, MaskDesign, perturb, r_squared, random_masks


def within(count, expected, rows):
    """Whether a count out of so many rows is within five standard deviations of what chance gives."""
    share = expected / rows
    return abs(count - expected) < 5 * np.sqrt(rows * share * (1 - share))


def test_first_row_is_all_on_and_every_other_row_switches_something_off():
    masks = random_masks(6, 500, np.random.default_rng(0))
    assert masks.shape == (500, 6)
    assert masks.dtype == bool
    assert masks[0].all()
    off = (~masks).sum(axis=1)
    assert off[1:].min() == 1
    assert off.max() == 6, "a row with every field off occurs"


def test_number_of_off_fields_is_uniform_from_1_to_p():
    rows, p = 30_000, 7
    off = (~random_masks(p, rows + 1, np.random.default_rng(1))[1:]).sum(axis=1)
    counts = np.bincount(off, minlength=p + 1)
    assert counts[0] == 0
    assert all(within(count, rows / p, rows) for count in counts[1:]), counts


def test_given_their_number_the_off_fields_are_a_uniform_choice():
    masks = random_masks(4, 24_001, np.random.default_rng(2))[1:]
    two = masks[(~masks).sum(axis=1) == 2]
    for a, b in itertools.combinations(range(4), 2):
        assert within(int((~two[:, a] & ~two[:, b]).sum()), len(two) / 6, len(two))


def test_same_seed_same_masks():
    first, again, other = (random_masks(9, 300, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_rows_are_refused():
    with pytest.raises(nid.SettingError, match="perturbations"):
        random_masks(3, MIN_ROWS - 1, np.random.default_rng(0))
    with pytest.raises(nid.SettingError, match="masks"):
        MaskDesign(np.ones((MIN_ROWS - 1, 3), dtype=bool))
    assert len(random_masks(3, MIN_ROWS, np.random.default_rng(0))) == MIN_ROWS


def test_perturb_does_no_arithmetic():
    row = np.array([1e300, 0.1, 3.0, -1e-300, 2.0**53])
    baseline = np.array([-1e300, 0.7, 0.0, 5.0, 1.0])
    masks = np.array(list(itertools.product([False, True], repeat=5)))
    rows = perturb(row, baseline, masks)
    assert rows.shape == (32, 5)
    assert np.array_equal(rows[-1], row), "all on is the instance, to the last bit"
    assert np.array_equal(rows[0], baseline), "all off is the baseline, to the last bit"
    for mask, made in zip(masks, rows, strict=True):
        assert made.tolist() == [x if on else off for on, x, off in zip(mask, row, baseline, strict=True)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [0, 1, 31, 32, 100])
def test_rows_are_those_of_a_select_in_either_precision(dtype, rows, monkeypatch):
    monkeypatch.setattr("nid_plugins.detection.masks.LONG", 7 * 32 + 3)
    rng = np.random.default_rng(rows)
    row, baseline = rng.normal(size=7), rng.normal(size=14)[::2]
    masks = rng.random((rows, 9))[:, 1:8] < 0.5
    made = perturb(row, baseline, masks, dtype)
    assert made.dtype == dtype
    assert made.flags.c_contiguous
    assert np.array_equal(made, np.where(masks, row, baseline).astype(dtype))


class Watcher(Detector):
    """Finds nothing and remembers what it was shown."""

    name = "watcher"

    def __init__(self):
        self.masks_seen = None
        self.targets = []

    def prepare(self, masks):
        self.masks_seen = masks

    def fit(self, state, targets, seeds):
        self.targets.append(targets.copy())
        return [Explanation([], np.empty(0)) for _ in targets]


def test_on_a_linear_model_every_logit_is_known_exactly():
    # All numbers are dyadic, so that float32 and float64 hold them and every sum of them exactly.
    schema = nid.FeatureSchema(
        [
            nid.DenseField("price"),
            nid.SparseField("site", 3),
            nid.DenseField("age"),
            nid.SparseField("item", 4),
        ]
    )
    slope = {"price": 0.5, "age": -2.0}
    effect = {"site": np.array([0.25, -1.0, 4.0]), "item": np.array([0.0, 1.0, -0.5, 8.0])}

    def model(columns):
        dense = sum(slope[name] * columns[name] for name in slope)
        return dense + sum(effect[name][columns[name]] for name in effect)

    frame = {
        "price": np.array([1.5, -0.75, 3.0, 0.25]),
        "site": np.array([2, 0, 1, 2]),
        "age": np.array([8.0, 0.5, -4.0, -0.5]),
        "item": np.array([3, 1, 1, 0]),
    }
    off = {"price": 1.0, "site": 2, "age": 1.0, "item": 1}  # means of the dense fields, modes of the sparse
    box = nid.wrap(model, schema, output="logit")
    watcher = Watcher()
    nid.detect(box, frame, detector=watcher, perturbations=200, progress=False)
    (targets,) = watcher.targets
    assert np.array_equal(targets[:, 0], box.logits(frame)), "the all-ones row is the instance"
    for i in range(4):
        for z, logit in zip(watcher.masks_seen, targets[i], strict=True):
            shown = {
                name: np.array([frame[name][i] if on else off[name]])
                for name, on in zip(schema.names, z, strict=True)
            }
            assert logit == model(shown)[0]
    # The effect of switching the dense field alone is its slope times the distance to the mean, nothing else.
    masks = watcher.masks_seen
    price = np.flatnonzero((masks == [False, True, True, True]).all(axis=1))[0]
    assert np.array_equal(targets[:, 0] - targets[:, price], 0.5 * (frame["price"] - 1.0))


def test_the_paper_settings_split_5000_500_500():
    design = MaskDesign(random_masks(3, 6000, np.random.default_rng(0)))
    assert (design.train, design.valid, design.test) == (slice(0, 5000), slice(5000, 5500), slice(5500, 6000))


@pytest.mark.parametrize(("rows", "held"), [(24, 6), (400, 100), (1000, 250), (3000, 250), (3600, 300)])
def test_splits_follow_each_other_and_cover_all_rows(rows, held):
    design = MaskDesign(random_masks(3, rows, np.random.default_rng(0)))
    assert design.train.start == 0
    assert design.train.stop == design.valid.start == rows - 2 * held
    assert design.valid.stop == design.test.start == rows - held
    assert design.test.stop == rows


def test_residuals_remove_main_effects_learned_on_the_training_rows_only():
    rng = np.random.default_rng(3)
    design = MaskDesign(random_masks(5, 400, rng))
    additive = 2.0 + design.coded @ rng.normal(size=5)
    assert np.abs(design.residuals(additive[None])).max() < 1e-12

    targets = rng.normal(size=(3, 400))
    left = design.residuals(targets)
    train = design.train
    assert np.abs(left[:, train] @ design.coded[train]).max() < 1e-9
    assert np.abs(left[:, train].sum(axis=1)).max() < 1e-9
    changed = targets.copy()
    changed[:, design.valid] += 1000.0
    changed[:, design.test] -= 1000.0
    assert np.array_equal(design.residuals(changed)[:, train], left[:, train])


def test_a_field_never_switched_in_the_training_rows_does_no_harm():
    masks = random_masks(4, 200, np.random.default_rng(4))
    masks[:, 2] = True
    design = MaskDesign(masks)
    targets = (design.coded[:, 0] * 3.0 - design.coded[:, 3])[None]
    assert np.abs(design.residuals(targets)).max() < 1e-10


def test_the_coefficient_of_a_coded_product_is_the_mixed_difference():
    masks = random_masks(4, 300, np.random.default_rng(5))
    design = MaskDesign(masks)
    z = masks.astype(float)
    # f = 3 [a and b] - 2 [b and c and d], differences by counting: 3 for (a, b), -2 for (b, c, d).
    f = 3.0 * z[:, 0] * z[:, 1] - 2.0 * z[:, 1] * z[:, 2] * z[:, 3]
    sets = [s for k in range(1, 5) for s in itertools.combinations(range(4), k)]
    columns = np.array([np.ones(300), *(design.product(s) for s in sets)])
    coefficients = dict(zip(sets, np.linalg.lstsq(columns.T, f, rcond=None)[0][1:], strict=True))
    assert coefficients[0, 1] == pytest.approx(3.0)
    assert coefficients[1, 2, 3] == pytest.approx(-2.0)
    assert coefficients[1, 2] == pytest.approx(-1.0), "half of the contexts have d on"
    assert coefficients[0, 2] == pytest.approx(0.0)
    assert coefficients[0, 1, 2, 3] == pytest.approx(0.0)


def test_r_squared():
    targets = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0], [1e6, 1e6, 1e6, 1e6 + 1e-10]])
    errors = np.array([[0.5, -0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1e-10]])
    got = r_squared(targets, errors)
    assert got[0] == pytest.approx(1 - 1.0 / 5.0)
    assert np.isnan(got[1])
    assert np.isnan(got[2]), "rounding is not variation"
