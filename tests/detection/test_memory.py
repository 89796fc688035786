"""The memory budget: no perturbed batch is larger, and the result is the same."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection import baselines
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.madex import Madex
from nid_plugins.detection.masks import perturb

FIELDS = 40


@pytest.fixture
def wide():
    """A model of forty fields, a frame of its rows, and the sizes of what the model was given."""
    rng = np.random.default_rng(2)
    schema = nid.FeatureSchema([nid.DenseField(f"x{i}") for i in range(FIELDS)])
    seen = []

    def logit(matrix):
        seen.append(len(matrix))
        return matrix[:, 0] * matrix[:, 1] + matrix[:, 2]

    def box(**options):
        return nid.wrap(logit, schema, output="logit", inputs="matrix", **options)

    return box, {name: rng.normal(size=20) for name in schema.names}, seen


@pytest.fixture
def built(monkeypatch):
    """Bytes of every perturbed batch."""
    sizes = []

    def noting(*arguments):
        rows = perturb(*arguments)
        sizes.append(rows.nbytes)
        return rows

    monkeypatch.setattr(baselines, "perturb", noting)
    return sizes


SETTINGS = {"instances": 3, "perturbations": 1000, "progress": False}


@pytest.mark.parametrize("memory", [8 * FIELDS, 8 * FIELDS * 7 + 3, 8 * FIELDS * 999, "100KB", "64KiB"])
@pytest.mark.parametrize("detector", ["least_squares", "archdetect"])
def test_no_batch_exceeds_the_budget_and_the_report_is_the_same(wide, built, memory, detector):
    box, frame, _ = wide
    free = nid.detect(box(), frame, detector=detector, **SETTINGS)
    masks = free.settings["queries_per_instance"]
    assert max(built) == min(masks, 2048) * 8 * FIELDS, "a batch of the model at once where there is room"
    built.clear()
    assert nid.detect(box(), frame, detector=detector, memory=memory, **SETTINGS) == free
    budget = {"100KB": 100_000, "64KiB": 65536}.get(memory, memory)
    assert max(built) <= budget
    assert max(built) > budget / 2 or budget < 16 * FIELDS, "and the budget is used"
    assert sum(built) == 3 * masks * 8 * FIELDS, "every row once"


def test_batches_of_the_model_stay_whole(wide):
    box, frame, seen = wide
    nid.detect(box(batch_size=128), frame, memory=8 * FIELDS * 300, **SETTINGS)
    assert set(seen) == {128, 1000 % 128}


def test_the_peak_follows_the_budget(wide):
    box, _, _ = wide
    row = np.zeros(FIELDS)
    peaks = {}
    for memory, batch_size in (
        (8 * FIELDS * 256, 20_000),
        (8 * FIELDS * 10_000, 64),
        (8 * FIELDS * 10_000, 20_000),
    ):
        small = nid.wrap(
            lambda matrix: matrix[:, 0], box().schema, output="logit", inputs="matrix", batch_size=batch_size
        )
        found, settings = checked_settings(
            "matching_pursuit", None, "oov", 1, 10_000, 5, 0, "gain", "count", 1e-3, 40
        )
        madex = Madex(small, np.empty((0, FIELDS)), settings, found, baselines.Oov(), memory)
        tracemalloc.start()
        madex.query(row, row)
        peaks[memory, batch_size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    tight, batches, ample = peaks.values()
    assert ample > 8 * FIELDS * 10_000
    assert tight < ample / 5
    assert batches < ample / 5, "no more than the model takes at once is made"


@pytest.mark.parametrize("memory", [8 * FIELDS - 1, "1B"])
def test_a_budget_below_one_row_is_refused_before_the_model_is_asked(wide, memory):
    box, frame, seen = wide
    with pytest.raises(nid.SettingError, match="does not hold one perturbed row.*at least 320 bytes"):
        nid.detect(box(), frame, memory=memory, **SETTINGS)
    assert not seen


@pytest.mark.parametrize("memory", [0, "lots", None, True, 2.5])
def test_what_is_no_amount_is_refused(wide, memory):
    box, frame, seen = wide
    with pytest.raises(nid.SettingError, match="memory is not an amount of memory"):
        nid.detect(box(), frame, memory=memory, **SETTINGS)
    assert not seen
