"""Two models on the same rows: values against scikit-learn, intervals against the bootstrap, DeLong and simulation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

import nid_plugins as nid
from nid_plugins.errors import FrameError, NidWarning, SettingError
from nid_plugins.metrics import sigmoid


def drawn(seed=0, n=2000, shift=-2.0):
    """Clicks of two interacting fields, logits that do not know of it, and logits that know half of it."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    label = (rng.random(n) < sigmoid(shift + x + 0.6 * x * z)).astype(int)
    return label, shift + x, shift + x + 0.3 * x * z


def values(comparison):
    return {one.name: (one.before, one.after) for one in comparison}


def test_values_are_scikit_learns():
    label, before, after = drawn()
    found = nid.compare(label, before, after)
    assert found["auc"].before == pytest.approx(roc_auc_score(label, before), abs=1e-12)
    assert found["auc"].after == pytest.approx(roc_auc_score(label, after), abs=1e-12)
    loss = log_loss(label, sigmoid(after))
    assert found["log_loss"].after == pytest.approx(loss, rel=1e-12)
    assert found["rig"].after == pytest.approx(1 - loss / log_loss(label, np.full(2000, label.mean())))
    assert found["calibration"].before == pytest.approx(sigmoid(before).sum() / label.sum())
    assert (found.rows, found.clicks, found.ctr) == (2000, label.sum(), pytest.approx(label.mean()))
    for one in found:
        assert one.change == one.after - one.before
        assert one.low < one.change < one.high
    assert found.verdict == found["auc"].verdict == found["rig"].verdict == "better"
    assert found["calibration"].verdict == ""


def test_intervals_are_those_of_the_paired_bootstrap():
    label, before, after = drawn(n=1500)
    rng = np.random.default_rng(1)
    changes = []
    for _ in range(300):
        rows = rng.integers(0, 1500, 1500)
        changes.append([one.change for one in nid.compare(label[rows], before[rows], after[rows])])
    for one, spread in zip(nid.compare(label, before, after), np.std(changes, axis=0), strict=True):
        assert (one.high - one.low) / (2 * 1.959964) == pytest.approx(spread, rel=0.15), one.name


def test_the_error_of_the_auc_is_delongs():
    rng = np.random.default_rng(2)
    label = np.repeat([1, 0], 40)
    scores = np.round(rng.normal(size=(2, 80)) + label, 1)  # with ties
    parts = []
    for score in scores:
        ups, downs = score[:40, None], score[None, 40:]
        kernel = (ups > downs) + 0.5 * (ups == downs)
        parts.append((kernel.mean(axis=1), kernel.mean(axis=0)))
    of_click, of_other = (parts[1][k] - parts[0][k] for k in (0, 1))
    # Both classes have 40 rows: DeLong divides by 39 in each, and 80 rows of one sample have the factor 80 / 79.
    variance = (of_click.var() + of_other.var()) / 40 * 80 / 79
    found = nid.compare(label, *scores, output="logit")["auc"]
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say():
    big = nid.compare(*drawn(seed=10_000, n=400_000, shift=-1.0))
    inside = np.zeros(4)
    for seed in range(300):
        found = nid.compare(*drawn(seed=seed, n=500, shift=-1.0))
        inside += [one.low <= truth.change <= one.high for one, truth in zip(found, big, strict=True)]
    # A binomial of 300 at 0.95 is in 0.91 .. 0.985 but for three times in a thousand.
    assert ((inside / 300 > 0.91) & (inside / 300 < 0.987)).all(), inside / 300


def test_the_interval_widens_with_the_confidence():
    label, before, after = drawn()
    half = {c: nid.compare(label, before, after, confidence=c)["auc"] for c in (0.9, 0.95, 0.99)}
    widths = {c: (one.high - one.low) / 2 for c, one in half.items()}
    assert widths[0.9] / widths[0.95] == pytest.approx(1.644854 / 1.959964, rel=1e-5)
    assert widths[0.99] / widths[0.95] == pytest.approx(2.575829 / 1.959964, rel=1e-5)


def test_turned_round_it_is_its_mirror():
    label, before, after = drawn()
    there, back = nid.compare(label, before, after), nid.compare(label, after, before)
    for one, other in zip(there, back, strict=True):
        assert (one.change, one.low, one.high) == pytest.approx((-other.change, -other.high, -other.low))
    assert (there.verdict, back.verdict) == ("better", "worse")


def test_a_model_is_no_better_than_itself():
    label, before, _ = drawn()
    found = nid.compare(label, before, before)
    assert {(one.change, one.low, one.high) for one in found} == {(0.0, 0.0, 0.0)}
    assert found.verdict == "open"
    assert found.notes[0].startswith("All predictions are equal: a model with crosses")


def test_a_weight_is_a_number_of_rows():
    label, before, after = drawn(n=300)
    weights = np.random.default_rng(3).integers(1, 4, 300)
    weighted = nid.compare(label, before, after, weights=weights)
    copied = nid.compare(*(np.repeat(part, weights) for part in (label, before, after)))
    for name, pair in values(weighted).items():
        assert pair == pytest.approx(values(copied)[name], rel=1e-12)
    # Copies are no further rows: as one unit each they say as much as their row does.
    grouped = nid.compare(
        *(np.repeat(part, weights) for part in (label, before, after)),
        units=np.repeat(np.arange(300), weights),
    )
    for one, other in zip(weighted, grouped, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
    assert nid.compare(label, before, after, weights=np.full(300, 1e308)) == nid.compare(
        label, before, after, weights=np.ones(300)
    )


def test_a_down_sampled_log_says_what_the_whole_one_does():
    label, before, after = drawn(n=40_000, shift=-3.0)
    whole = nid.compare(label, before, after)
    stays = (label == 1) | (np.random.default_rng(4).random(40_000) < 0.2)
    part = nid.compare(label[stays], before[stays], after[stays], kept=0.2)
    for one, other in zip(whole, part, strict=True):
        assert other.low < one.change < other.high
        assert other.before == pytest.approx(one.before, rel=0.05)
    assert part.ctr == pytest.approx(whole.ctr, rel=0.03)
    assert part.notes == ()
    plain = nid.compare(label[stays], before[stays], after[stays])
    assert part["auc"].change == pytest.approx(plain["auc"].change, rel=1e-9)
    assert part["log_loss"].change != pytest.approx(plain["log_loss"].change, rel=0.1)
    # Models trained on what was kept promise as many clicks as there are in it.
    moved = nid.compare(label[stays], before[stays] - math.log(0.2), after[stays] - math.log(0.2), kept=0.2)
    assert "add log(kept) = -1.609 to their logits" in moved.notes[0]


def test_rows_of_one_user_are_not_independent():
    """Users differ in how much better the second model is on them: rows taken as independent promise too much."""
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(100), 30)
    mood = rng.normal(0, 1.0, 100)[users]
    label = (rng.random(3000) < sigmoid(mood - 1)).astype(int)
    names = np.array([f"user {u}" for u in users], dtype=object)
    scores = (np.full(3000, -1.0), -1.0 + 0.5 * mood)
    rows, grouped = nid.compare(label, *scores), nid.compare(label, *scores, units=names)
    wider = [(b.high - b.low) / (a.high - a.low) for a, b in zip(rows, grouped, strict=True)]
    assert min(wider[1:3]) > 1.5
    assert values(rows) == values(grouped)
    assert grouped.settings["units"] == 100


def test_bins_hold_all_rows_and_equal_predictions_together():
    label, before, after = drawn()
    found = nid.compare(label, before, np.round(after))
    for bins in found.calibration:
        assert sum(one.rows for one in bins) == 2000
        assert sum(one.clicks for one in bins) == label.sum()
        assert [one.predicted for one in bins] == sorted(one.predicted for one in bins)
    assert [one.rows for one in found.calibration[0]] == [200] * 10
    ties = {one.predicted for one in found.calibration[1]}
    assert 1 < len(ties) < 10
    lowest = np.argsort(before)[:200]
    first = found.calibration[0][0]
    assert first.observed == pytest.approx(label[lowest].mean())
    assert first.off == pytest.approx(sigmoid(before[lowest]).mean() / label[lowest].mean() - 1)
    rng = np.random.default_rng(7)
    again = [rng.choice(lowest, 200) for _ in range(2000)]
    spread = np.std([np.log(sigmoid(before[rows]).sum() / max(label[rows].sum(), 1)) for rows in again])
    assert (first.high - first.low) / (2 * 1.959964) == pytest.approx((1 + first.off) * spread, rel=0.2)
    rare = nid.compare(np.r_[np.zeros(99), 1], np.arange(100.0), np.arange(100.0)).calibration[0]
    assert math.isnan(rare[0].low)
    assert math.isnan(rare[0].off)
    assert rare[9].low < rare[9].off < rare[9].high


def test_probabilities_are_told_from_logits():
    label, before, after = drawn()
    logits = nid.compare(label, before, after)
    found = nid.compare(label, sigmoid(before), sigmoid(after), output="probability")
    for one, other in zip(logits, found, strict=True):
        assert (one.before, one.low, one.high) == pytest.approx(
            (other.before, other.low, other.high), rel=1e-9
        )
    with pytest.raises(
        FrameError, match=r"field 'before': logits that look like probabilities.*output='probability'"
    ):
        nid.compare(label, sigmoid(before), sigmoid(after))
    with pytest.raises(FrameError, match="field 'after': logits that look like probabilities"):
        nid.compare(label, before, sigmoid(after))
    with pytest.raises(FrameError, match="field 'before': not probabilities.*look like logits"):
        nid.compare(label, before, after, output="probability")
    assert nid.compare(label, sigmoid(before), after, output="logit")["calibration"].before > 2
    assert nid.compare(label, np.zeros(2000), after)["auc"].before == 0.5  # of no use, but logits


def test_a_clip_is_told():
    label, before, after = drawn()
    certain = sigmoid(after)
    certain[:3] = 0, 1, 1
    with pytest.warns(NidWarning, match=r"after: 3 of 2,000 probabilities were clipped to 1e-07"):
        nid.compare(label, sigmoid(before), certain, output="probability")


def test_few_clicks_are_told():
    rng = np.random.default_rng(6)
    label = np.zeros(500, dtype=int)
    label[:20] = 1
    scores = rng.normal(size=(2, 500))
    assert nid.compare(label, *scores).notes == ("There are few clicks (20): the intervals are rough.",)
    few = nid.compare(label, *scores, units=np.arange(500) % 30).notes
    assert few[1] == "There are few units (30): the intervals are rough."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.zeros(2000)}, "both clicks and rows without; received: 0 clicks in 2,000 rows"),
        ({"label": np.ones(2000)}, "received: 2,000 clicks in 2,000 rows"),
        ({"label": np.full(2000, 2)}, "labels must be 0 or 1"),
        ({"label": np.zeros(3)}, "wrong number of labels"),
        ({"after": np.zeros(7)}, "received: 2,000 before and 7 after"),
        (
            {"after": np.r_[math.nan, np.zeros(1999)]},
            "field 'after': a score is not finite, or huge; received: nan at row 0",
        ),
        ({"before": np.r_[math.inf, np.zeros(1999)]}, "Infinite logits are probabilities of exactly 0 or 1"),
        ({"before": np.zeros((2000, 2))}, r"shape \(2000, 2\)"),
        ({"before": [], "after": [], "label": []}, "no rows"),
        ({"before": ["a"] * 2000}, "field 'before': not numeric"),
        ({"weights": np.zeros(2000)}, "weights must be positive"),
        ({"weights": np.ones(3)}, "wrong number of weights; received: 3; expected: 2,000"),
        ({"weights": np.ones((2000, 2))}, "field 'weights': a column must be 1-D"),
        ({"weights": np.r_[1e-300, np.full(1999, 1e300)]}, "weights differ too much"),
        ({"kept": 1e-300}, "weights differ too much"),
        ({"before": np.r_[1e308, np.zeros(1999)]}, "not finite, or huge"),
        ({"before": np.ma.masked_equal(np.r_[7.0, np.zeros(1999)], 7.0)}, "received: nan at row 0"),
        ({"units": [None] * 2000}, "a unit is missing"),
        ({"units": ["one"] * 2000}, "all rows are of one unit; received: one"),
        ({"units": [1, 2]}, "wrong number of units"),
    ],
)
def test_rows_that_do_not_allow_it_are_refused(changes, message):
    label, before, after = drawn()
    with pytest.raises(FrameError, match=message):
        nid.compare(**{"label": label, "before": before, "after": after, **changes})


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 1.0},
        {"confidence": 95},
        {"confidence": True},
        {"confidence": "95%"},
        {"kept": 0.0},
        {"kept": 1.5},
        {"kept": "half"},
        {"kept": 0.5, "weights": [1.0]},
        {"output": "odds"},
        {"epsilon": 0.7},
        {"names": "ab"},
        {"names": ("a",)},
        {"names": None},
        {"names": {"a", "b"}},
    ],
)
def test_settings_out_of_their_domain_are_refused(wrong):
    with pytest.raises(SettingError):
        nid.compare(*drawn(n=100), **wrong)


def test_units_that_are_no_ids_are_refused():
    label, before, after = drawn(n=100)
    with pytest.raises(FrameError, match="units cannot be told apart"):
        nid.compare(label, before, after, units=pd.Series([{}] * 100))


def test_settings_at_the_end_of_their_domain_have_finite_measures_or_are_refused():
    sample = drawn(n=100)
    for one in nid.compare(*sample, confidence=math.nextafter(1.0, 0.0)):
        assert all(map(math.isfinite, (one.low, one.high)))
    with pytest.raises(FrameError, match="differ too much"):
        nid.compare(*sample, kept=1e-320)


def test_columns_of_a_frame_and_tensors_will_do():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    label, before, after = drawn(n=300)
    frame = pd.DataFrame({"click": label, "before": before})
    found = nid.compare(
        frame["click"], frame["before"], torch.tensor(after, requires_grad=True)[:, None], units=frame.index
    )
    assert values(found) == values(nid.compare(label, before, after))


scores = st.one_of(
    st.floats(-40, 40), st.floats(-1e99, 1e99), st.sampled_from([0.0, -0.0, 1.0, 745.0, -745.0])
)


@example([(0, 0.0, 0.0, 1e-7), (1, 0.0, 0.0, 1e9)])
@given(
    st.lists(st.tuples(st.integers(0, 1), scores, scores, st.floats(1e-40, 1e40)), min_size=2, max_size=30)
)
def test_all_finite_scores_have_finite_measures(rows):
    label, before, after, weights = map(np.array, zip(*rows, strict=True))
    if len(set(label)) < 2 or (weights / weights.mean()).min() < 1e-50:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = np.arange(len(rows)) // 2 if len(rows) > 2 else None
        found = nid.compare(label, before, after, weights=weights, output="logit", units=units)
    for one in found:
        assert all(map(math.isfinite, (one.before, one.after, one.low, one.high))), one
        assert one.low <= one.change <= one.high
    assert nid.ModelComparison.from_dict(found.to_dict()) == found
