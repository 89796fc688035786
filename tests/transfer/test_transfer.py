"""Crosses and learned embeddings go from any framework to any other as files: same ids, same embeddings, same effect.

Every step is a script in a process of its own (``steps/``); this module imports no framework.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

STEPS = Path(__file__).with_name("steps")
NEEDED = {
    "deepctr_torch": ("torch", "deepctr_torch"),
    "torch": ("torch",),
    "keras": ("tensorflow", "keras"),
    "deepctr": ("tensorflow", "tf_keras", "deepctr"),
}
TOGETHER = (("deepctr_torch", "torch"), ("keras",), ("deepctr",))
"""Frameworks by process: both of TensorFlow's Kerases in one would be one too many."""

SCHEMA = FeatureSchema(
    [SparseField("site", 4), DenseField("price"), SparseField("item", 6), SparseField("hour", 4)]
)


def log(n=4000):
    """Return a click log in which site and item interact."""
    rng = np.random.default_rng(4)
    frame = {
        "site": rng.integers(0, 4, n),
        "price": rng.random(n, dtype=np.float32),
        "item": rng.integers(0, 6, n),
        "hour": rng.integers(0, 4, n),
    }
    pairs = 2.5 * np.random.default_rng(0).normal(size=(4, 6))
    logit = pairs[frame["site"], frame["item"]] + frame["price"]
    return frame, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)


def run(step, folder, frameworks):
    environ = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    if "deepctr" in frameworks:
        environ["TF_USE_LEGACY_KERAS"] = "1"
    command = [sys.executable, str(STEPS / step), str(folder), *frameworks]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, f"{step} {frameworks}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder after all steps have run."""
    for package in sorted(set(itertools.chain(*NEEDED.values()))):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"transfer goes through all frameworks, and {package} is not installed")
    folder = tmp_path_factory.mktemp("transfer")
    frame, label = log()
    np.savez(folder / "log.npz", click=label, **frame)
    (folder / "schema.json").write_text(json.dumps(SCHEMA.to_dict()), encoding="utf-8")
    rows = {name: column[:300] for name, column in log(5000)[0].items()}
    odd = np.array(
        [
            [4, 1, 0, 0],
            [-1, 1, 0, 1],
            [2**24 + 2, 1, 2, 3],
            [np.nan, 1, 2, 3],
            [3, np.nan, 5, 1],
            [2, 1e30, 5, 7],
        ]
    )
    np.savez(folder / "rows.npz", odd=odd, **rows)
    for step in ("source.py", "target.py"):
        for frameworks in TOGETHER:
            run(step, folder, frameworks)
    return folder


# One test, so that the steps run once however the tests are shared out among processes.
def test_crosses_and_embeddings_go_from_every_framework_to_every_other(folder):
    saved = dict(np.load(folder / "rows.npz"))
    odd = saved.pop("odd")
    for source in NEEDED:
        report = nid.InteractionReport.load(folder / source / "report.json")
        assert {"site", "item"} in [set(found.fields) for found in report.interactions[:2]], source
        crosses = nid.CrossFeatures.load(folder / source / "crosses")
        embeddings = nid.load_embeddings(folder / source / "crosses")
        assert crosses.schema == SCHEMA
        assert [set(cross.fields) for cross in crosses.crosses] == [{"site", "item"}, {"price", "hour"}], (
            source
        )
        assert all(values[1:].any() for values in embeddings.values()), f"{source} learned no embeddings"
        ids = crosses.transform(saved)
        assert (ids > 0).any(axis=0).all()
        effect = effect_of(ids, embeddings)
        assert np.ptp(effect) > 0.01, source
        for target in NEEDED:
            assert_carried(
                dict(np.load(folder / source / f"in_{target}.npz")), crosses, embeddings, ids, odd, effect
            )


def effect_of(ids, embeddings):
    """Return what the embeddings add to the logit of each row under the steps' projection, in float64."""
    wide = np.concatenate([embeddings[name][ids[:, k]] for k, name in enumerate(embeddings)], axis=1)
    return wide.astype(np.float64) @ np.linspace(-1.0, 1.5, wide.shape[1], dtype=np.float32)


def assert_carried(found, crosses, embeddings, ids, odd, effect):
    """Fail unless a target computed the same ids, holds the same embeddings, and its logit moves as they say."""
    np.testing.assert_array_equal(found["ids"], ids)
    frame = dict(zip(SCHEMA.names, odd.T, strict=True))
    np.testing.assert_array_equal(found["odd_ids"], crosses.transform(frame))
    for name, values in embeddings.items():
        np.testing.assert_array_equal(found[f"embedding {name}"], values)
    np.testing.assert_array_equal(found["first"], found["base"])
    # float32, and a probability's logit besides
    np.testing.assert_allclose(found["moved"] - found["base"], effect, atol=2e-5)
