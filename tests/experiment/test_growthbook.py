"""The real kit, fed the payload of a design, assigns as the design does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nid_plugins import SettingError
from nid_plugins.experiment import Design, Namespace, Variant, assign, bucket, growthbook_payload

growthbook = pytest.importorskip("growthbook")

DESIGN = Design(
    "home.feed-2030",
    seed="sël😀-7",
    unit="uid",
    variants=(Variant("base", 0.55), Variant("crosses", 0.3), Variant("naïve", 0.15)),
    coverage=0.87,
    namespace=Namespace("feed", 0.15, 0.95),
)


def strange_ids(n: int, seed: int) -> list[str]:
    """Return ids of many alphabets: digits, umlauts, CJK, emoji beyond the first plane, blanks, very long ones."""
    rng = np.random.default_rng(seed)
    alphabets = [
        "0123456789",
        "abcdefXYZ-_",
        "äßéñç",
        "日本語漢字",
        "😀🚀𝄞🧪",
        " \t\u00a0\u200b",
        "\x00\x01\uffff",
    ]
    found = []
    for i in range(n):
        kind = i % 8
        if kind < 3:
            found.append(f"{'user-' if kind else ''}{i}")
        elif kind == 3:
            found.append(f"{i:032x}")
        else:
            letters = alphabets[int(rng.integers(len(alphabets)))] + "abc123"
            picked = rng.integers(len(letters), size=int(rng.integers(1, 12)))
            found.append("".join(letters[j] for j in picked) + (str(i) if kind < 7 else ""))
    found[:4] = ["x" * 20_000, "😀" * 5_000, "0", " "]
    return found


def by_kit(design: Design, ids: list[str]) -> tuple[list[str], list[int], list[float | None]]:
    """Return value, index (-1: not in the experiment) and bucket of each id, as the kit has them."""
    payload = json.loads(json.dumps(growthbook_payload(design)))
    kit = growthbook.GrowthBook(features=payload["features"])
    values, indices, buckets = [], [], []
    for one in ids:
        kit.set_attributes({design.unit: one})
        found = kit.eval_feature(design.name)
        run = found.experimentResult
        values.append(found.value)
        inside = run is not None and run.inExperiment
        indices.append(run.variationId if inside else -1)
        buckets.append(run.bucket if inside else None)
    kit.destroy()
    return values, indices, buckets


def test_two_hundred_thousand_ids():
    ids = strange_ids(200_000, seed=0)
    values, indices, buckets = by_kit(DESIGN, ids)
    found = assign(DESIGN, ids)
    assert found.tolist() == indices
    names = [variant.name for variant in DESIGN.variants]
    assert values == [names[max(index, 0)] for index in found]
    inside = found >= 0
    ours = bucket(ids, DESIGN.seed)
    assert ours[inside].tolist() == [one for one in buckets if one is not None]
    # All of it is put to the test: each variant, those out by coverage and those out by namespace.
    assert np.bincount(found + 1, minlength=4).min() > 10_000


@pytest.mark.parametrize(
    "design",
    [
        Design("a"),
        Design("b", variants=tuple(Variant(f"v{i}", 1 / 7) for i in range(7))),
        Design("c", variants=(Variant("x", 0.1), Variant("y", 0.2), Variant("z", 0.7)), coverage=0.3333),
        Design(
            "d", variants=(Variant("x", 1e-4), Variant("y", 0.9999)), namespace=Namespace("n", 0.001, 0.002)
        ),
        Design("e", seed="another", namespace=Namespace("n", 0.5, 1.0)),
        Design("g", namespace=Namespace("n", 0.25, 0.75, hash_version=2), coverage=0.9),
        Design("h", seed="é", namespace=Namespace("😀", 0.9995, 1.0, hash_version=2)),
        Design("f", variants=(Variant("x", 1 / 3), Variant("y", 2 / 3)), coverage=0.1 + 0.2),
    ],
    ids=lambda design: design.name,
)
def test_other_designs(design):
    ids = strange_ids(2_000, seed=1)
    assert assign(design, ids).tolist() == by_kit(design, ids)[1]


def test_experiment_run_by_the_kit_without_a_feature():
    rule = growthbook_payload(DESIGN)["features"][DESIGN.name]["rules"][0]
    ids = strange_ids(500, seed=2)
    kit = growthbook.GrowthBook()
    found = []
    for one in ids:
        kit.set_attributes({"uid": one})
        result = kit.run(growthbook.Experiment(**rule))
        found.append(result.variationId if result.inExperiment else -1)
    kit.destroy()
    assert found == assign(DESIGN, ids).tolist()


def test_what_the_payload_says():
    payload = growthbook_payload(DESIGN)
    feature = payload["features"]["home.feed-2030"]
    assert feature["defaultValue"] == "base"
    (rule,) = feature["rules"]
    assert rule["hashVersion"] == 2
    assert rule["hashAttribute"] == "uid"
    assert rule["namespace"] == ["feed", 0.15, 0.95]
    assert rule["weights"] == [0.55, 0.3, 0.15]
    assert "namespace" not in growthbook_payload(Design("a"))["features"]["a"]["rules"][0]


def test_integers_in_the_kit():
    # The kit takes numbers as JavaScript does: their digits, but 0 is no id.
    ids = [1, 7, 123_456, 2**53 - 1]
    design = Design("ints", unit="uid")
    assert assign(design, ids).tolist() == by_kit(design, ids)[1]


def test_not_a_design():
    with pytest.raises(SettingError) as caught:
        growthbook_payload({"name": "x"})
    assert caught.value.field == "design"
