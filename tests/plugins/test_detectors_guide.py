"""The guide to detectors, docs/plugins/detectors.md: it shows the worked one as it is, what it says is so, its code runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from guides import Guide, bare, bare_files

from nid_plugins.detection import MaskDesign, random_masks
from nid_plugins.errors import PluginError
from nid_plugins.testing import DetectorCase

EXAMPLE = Path(__file__).parent / "nid_forest"
GUIDE = Guide("detectors.md")


@pytest.fixture
def forest(monkeypatch):
    """The worked package, importable."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from nid_forest import detector

    return detector


def test_the_code_shown_is_the_example_s_file_by_file():
    shown = ["nid_forest/plugin.py", "nid_forest/detector.py", "test_forest.py"]
    blocks = [bare(block) for k, block in enumerate(GUIDE.python) if k != 2]
    assert blocks == bare_files(EXAMPLE, shown)
    project = (EXAMPLE / "pyproject.toml").read_text("utf-8").splitlines()
    (toml,) = GUIDE.blocks("toml")
    assert all(line in project for line in toml.splitlines() if line)


def test_every_attribute_of_the_suite_is_explained():
    listed = GUIDE.text[GUIDE.text.index("| attribute |") :]
    for name in DetectorCase.__annotations__:
        assert re.search(rf"`{name}`", listed), name


def test_files_named_on_the_page_exist():
    assert GUIDE.absent() == []


def test_the_block_to_try_runs(forest):
    exec(compile(GUIDE.python[2], "detectors.md", "exec"), {})  # noqa: S102 - our own documentation


def test_on_raw_logits_pairs_that_are_not_there_go_before_planted_ones(forest):
    masks = random_masks(39, 3000, np.random.default_rng(0))
    main = np.random.default_rng(1).normal(size=39)
    planted = {(0, 1): 1.5, (2, 3): -1.5, (1, 4): 0.8}
    logits = masks @ main + sum(size * masks[:, a] * masks[:, b] for (a, b), size in planted.items())

    class Raw(MaskDesign):
        def residuals(self, targets):
            return targets

    found = {}
    for kind in (MaskDesign, Raw):
        (one,) = forest.ForestH().fit(kind(masks), logits[None], [np.random.SeedSequence(1)])
        found[kind] = set(one.sets[:3])
    assert found[MaskDesign] == set(planted)
    assert found[Raw] != set(planted)


def test_a_malformed_answer_ends_the_detection_and_an_exception_comes_through(forest, monkeypatch):
    page = {}
    rank = forest.rank_pairs

    def turned(pairs):
        sets, values = rank(pairs)
        return [members[::-1] for members in sets], values

    monkeypatch.setattr(forest, "rank_pairs", turned)
    with pytest.raises(PluginError, match="'forest_h' returned unusable sets"):
        exec(compile(GUIDE.python[2], "detectors.md", "exec"), page)  # noqa: S102 - our own documentation
    monkeypatch.setattr(forest, "rank_pairs", lambda pairs: {}["nothing"])
    with pytest.raises(KeyError, match="nothing"):
        exec(compile(GUIDE.python[2], "detectors.md", "exec"), page)  # noqa: S102 - our own documentation


MODELS = """
import nid_plugins as nid

def load():
    schema = nid.FeatureSchema([nid.SparseField("a", 4), nid.SparseField("b", 4), nid.DenseField("x")])
    return nid.wrap(lambda c: 1.0 * c["x"] + 2.0 * ((c["a"] + c["b"]) % 2) - 1.0, schema, output="logit")
"""


def test_installed_it_is_listed_and_chosen_on_the_command_line(tmp_path):
    (console,) = GUIDE.blocks("console")
    install, listing, detecting = (shlex.split(line) for line in console.splitlines())
    shutil.copytree(EXAMPLE, tmp_path / "source")
    site = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        *install[:2],
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    command += ["--disable-pip-version-check", "--target", str(site), install[2]]
    run(command, tmp_path / "source")
    (tmp_path / "my_models.py").write_text(MODELS, encoding="utf-8")
    rng = np.random.default_rng(0)
    import pandas as pd

    frame = {"a": rng.integers(0, 4, 40), "b": rng.integers(0, 4, 40), "x": rng.normal(size=40)}
    pd.DataFrame(frame).to_parquet(tmp_path / "valid.parquet")

    listed = json.loads(run([sys.executable, "-m", "nid_plugins", *listing[1:], "--json"], tmp_path, site))
    (ours,) = [plugin for plugin in listed["plugins"] if plugin["name"] == "forest"]
    assert ours["hooks"] == ["nid_register_detectors"]
    assert not [problem for problem in listed["problems"] if "forest" in problem]
    less = ["--instances", "10", "--perturbations", "300", "--no-progress"]
    run([sys.executable, "-m", "nid_plugins", *detecting[1:], *less], tmp_path, site)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["interactions"][0]["fields"] == ["a", "b"]
    assert report["settings"]["detector"] == "forest_h"
    assert report["settings"]["options"]["trees"] == 100


def run(command, folder, *paths):
    """Run a command with folders on the path of Python, and return what it printed."""
    path = os.pathsep.join([*map(str, paths), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
