"""The page docs/detectors.md: its code runs from top to bottom, and it names all there is to choose."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np

from nid_plugins.detection import GradientNID
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.testing.detector_fixtures import logits_on, seeds

TEXT = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text("utf-8")


def test_the_code_on_the_page_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 10
    names = {}
    with warnings.catch_warnings(), use_manager(PluginManager(entry_points=False, environ={})):
        warnings.simplefilter("error")
        for number, code in enumerate(blocks):
            exec(compile(code, f"detectors.md, block {number}", "exec"), names)  # noqa: S102 - our own documentation
    printed = capsys.readouterr().out
    assert "zero_embedding" in printed
    assert "settled" in printed
    found = names["found"]
    assert len({tuple(one) for one in found}) > 1, "the page says that seeds differ"


def test_every_detector_baseline_and_rule_is_explained():
    manager = PluginManager(entry_points=False, environ={})
    for name in [*manager.detectors(), *manager.baselines()]:
        assert re.search(rf"^\| `{name}`", TEXT, re.MULTILINE), name
    for name in ("gain", "paper", "none"):
        assert re.search(rf"^\| `{name}`", TEXT, re.MULTILINE), name


def test_networks_with_few_masks_may_learn_nothing_in_large_steps_say_so_and_take_smaller_ones():
    fits = []
    for options in ({"batch": 200}, {}):
        detector = GradientNID(**options)
        masks = detector.masks(8, 1500, np.random.default_rng(1))
        targets = logits_on(masks)[[0, 4]]
        fits.append([one.r2 for one in detector.fit(detector.prepare(masks), targets, seeds(2))])
    large, default = fits
    assert min(large) < 0.5
    assert min(default) > 0.99
