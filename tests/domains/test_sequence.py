"""Sequences: what off letters become, and a motif of six letters found as one set by every detector."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.domains import Letters

RNG = np.random.default_rng(0)


def test_neutral_and_background():
    on = np.array([[1, 1, 1, 1], [1, 0, 0, 1]], bool)
    assert Letters(off="neutral").features("ACGT").batch(on, RNG) == ["ACGT", "ANNT"]
    assert Letters(background="TTTT").features("ACGT").batch(on, RNG) == ["ACGT", "ATTT"]
    assert Letters(background="TTTT").features("ACGT").unswitched().tolist() == [False, False, False, True]
    assert Letters(alphabet="日月火", off="neutral", neutral="-").features("日火").batch(on[:, :2], RNG) == [
        "日火",
        "日-",
    ]


def test_drawn_letters_are_others_each_as_likely():
    features = Letters().features("AC")
    batch = features.batch(np.tile([False, True], (6000, 1)), np.random.default_rng(0))
    counts = Counter(text[0] for text in batch)
    assert set(counts) == set("CGT")
    assert min(counts.values()) > 1850
    assert {text[1] for text in batch} == {"C"}
    assert features.drawn


@pytest.mark.parametrize("off", ["random", "neutral"])
@pytest.mark.parametrize("detector", ["least_squares", "nid", "gradient_nid", "archdetect"])
def test_a_motif_is_one_set(detector, off):
    letters = np.random.default_rng(5).choice(list("ACGT"), 36)
    letters[20:26] = list("CACGTG")
    found = nid.explain(
        lambda sequences: [0.95 if "CACGTG" in one else 0.05 for one in sequences],
        "".join(letters),
        domain="sequence",
        off=off,
        output="probability",
        detector=detector,
        perturbations=2000,
    )
    first = found.interactions[0]
    assert first.positions == (20, 21, 22, 23, 24, 25)
    assert "".join(first.labels) == "CACGTG"
    assert found.r2 > found.r2_linear + 0.4


@pytest.mark.parametrize(
    ("instance", "options", "error", "message"),
    [
        (["A"], {}, nid.FrameError, "not a string"),
        ("", {}, nid.FrameError, "is empty"),
        ("ACXT", {}, nid.FrameError, "'X' at position 2"),
        ("ACNT", {}, nid.FrameError, "'N' at position 2"),
        ("ACGT", {"background": "AC"}, nid.FrameError, "another length"),
        ("ACGT", {"background": "ACG?"}, nid.FrameError, "the background has a letter"),
        ("ACGT", {"background": 3}, nid.SettingError, "not a sequence"),
        ("ACGT", {"off": "background"}, nid.SettingError, "needs a background"),
        ("ACGT", {"off": "neutral", "background": "ACGT"}, nid.SettingError, "would not be used"),
        ("ACGT", {"off": "other"}, nid.SettingError, "unknown off"),
        ("ACGT", {"alphabet": "AA"}, nid.SettingError, "not an alphabet"),
        ("ACGT", {"neutral": "NN"}, nid.SettingError, "not a symbol"),
    ],
)
def test_what_does_not_fit(instance, options, error, message):
    with pytest.raises(error, match=message):
        Letters(**options).features(instance)
