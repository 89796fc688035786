"""The worked third-party plug-in: built and installed by pip as anyone's, then used in an interpreter of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "nid_example"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs Python with the plug-in installed, and returns its stdout."""
    root = tmp_path_factory.mktemp("example")
    shutil.copytree(SOURCE, root / "source")
    site = root / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    install += ["--no-index", "--disable-pip-version-check", "--target", str(site), str(root / "source")]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def call(*arguments, **environ):
        path = os.pathsep.join(p for p in (str(site), os.environ.get("PYTHONPATH", "")) if p)
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environ},
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_it_is_listed_with_version_and_hooks(run):
    listed = json.loads(run("-m", "nid_plugins", "plugins", "--json"))
    assert listed["problems"] == []
    (example,) = [plugin for plugin in listed["plugins"] if plugin["name"] == "example"]
    assert example == {
        "name": "example",
        "version": "0.3.0",
        "hooks": ["nid_register_adapters", "nid_register_detectors"],
        "source": "entry point",
    }
    assert "example" in run("-m", "nid_plugins", "plugins")


@pytest.mark.parametrize("way", ["option", "environment"])
def test_it_can_be_left_out(run, way):
    if way == "option":
        out = run("-m", "nid_plugins", "--disable", "example", "plugins", "--json")
    else:
        out = run("-m", "nid_plugins", "plugins", "--json", NID_DISABLE_PLUGINS="example")
    assert "example" not in {plugin["name"] for plugin in json.loads(out)["plugins"]}


SCRIPT = """
import json, sys, warnings
import numpy as np
import nid_plugins as nid
from nid_example.model import LogisticTables

rng = np.random.default_rng(5)
sizes = {"site": 6, "app": 5, "device": 4, "hour": 3}
frame = {name: rng.integers(0, size, 8000) for name, size in sizes.items()}
odd = (frame["site"] + frame["device"]) % 2
logit = 0.4 * (frame["app"] - 2) + 1.5 * (2 * odd - 1)
clicks = (rng.random(8000) < 1 / (1 + np.exp(-logit))).astype(float)

model = LogisticTables(sizes).fit(frame, clicks)
before = {name: table.copy() for name, table in model.weights.items()}
box = nid.wrap(model)
settings = dict(background=frame, instances=12, perturbations=200, progress=False)
assert "torch" not in sys.modules
found_in_base = nid.detect(box, frame, detector="pair_correlation", **settings)

crosses = nid.fit_crosses([("site", "device")], frame, box.schema)
target = nid.inject(model, crosses)
first = bool(np.array_equal(target.predict(frame), model.predict(frame)))
target.fit(frame, clicks)
found = nid.detect(nid.wrap(target), frame, detector="pair_correlation", prune="none", **settings)
gain = nid.detect(nid.wrap(target), frame, detector="pair_correlation", **settings)
strict = nid.detect(nid.wrap(target), frame, detector="pair_correlation", options={"threshold": 1e9}, prune="none",
                    **settings)

def loss(m):
    p = m.predict(frame)
    return float(-np.mean(clicks * np.log(p) + (1 - clicks) * np.log(1 - p)))

try:
    nid.cross_embeddings(model)
    refused = ""
except nid.UnsupportedError as error:
    refused = str(error)
try:
    nid.wrap(model, inputs="matrix")
    inputs = ""
except nid.SettingError as error:
    inputs = str(error)
print(json.dumps({
    "adapter": box.adapter, "schema": list(box.schema.names), "output": box.output,
    "logits": float(np.abs(box.logits(frame) - model.logit(frame)).max()),
    "base": [i.fields for i in found_in_base], "found": [i.fields for i in found], "gain": [i.fields for i in gain],
    "strength": found.interactions[0].strength, "strict": len(strict),
    "first": first, "loss": [loss(model), loss(target)],
    "embeddings": {k: [list(v.shape), str(v.dtype)] for k, v in nid.cross_embeddings(target).items()},
    "sizes": list(crosses.vocabulary_sizes),
    "unchanged": all(np.array_equal(before[name], model.weights[name]) for name in before),
    "refused": refused, "inputs": inputs,
}))
"""


@pytest.fixture(scope="module")
def used(run):
    return json.loads(run("-c", textwrap.dedent(SCRIPT)))


def test_its_adapter_wraps_its_model(used):
    assert used["adapter"] == "example"
    assert used["schema"] == ["site", "app", "device", "hour"]
    assert used["output"] == "logit"
    assert used["logits"] == 0.0
    assert "take a mapping" in used["inputs"]


def test_its_detector_finds_the_planted_pair_once_the_model_has_it(used):
    assert used["base"] == []  # logistic tables are additive
    assert used["found"] == [["site", "device"]]
    assert used["gain"] == [["site", "device"]]
    assert used["strength"] > 1.0
    assert used["strict"] == 0


def test_its_adapter_injects(used):
    assert used["first"]
    assert used["unchanged"]
    assert used["loss"][1] < 0.9 * used["loss"][0]
    assert used["embeddings"] == {"site__x__device": [[used["sizes"][0] + 1, 1], "float32"]}
    assert "Call nid.inject first" in used["refused"]
