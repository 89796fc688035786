"""Plots of a report: what is drawn, on which axes, and that pyplot does not hear of it."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import MissingExtraError, SettingError
from nid_plugins.report import Interaction, InteractionReport


@pytest.fixture
def report():
    schema = nid.FeatureSchema(
        [nid.SparseField("$site_$", 9), nid.DenseField("price"), nid.DenseField("hour")]
    )
    return InteractionReport(
        [
            Interaction(("$site_$", "hour"), 8, 0.8, 1.25, math.nan, 1.0),
            Interaction(("price", "hour"), 3, 0.3, 0.5, math.nan, 0.625),
        ],
        schema,
        r2=np.ones(10),
        pair_strengths=np.array([[0.0, 0.5, 2.0], [0.5, 0.0, 0.25], [2.0, 0.25, 0.0]]),
    )


def texts(labels):
    return [label.get_text() for label in labels]


def test_the_ranking_is_drawn_from_the_top(report, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    axes = report.plot()
    assert [bar.get_width() for bar in axes.patches] == [0.8, 0.3]
    assert texts(axes.get_yticklabels()) == ["$site_$ x hour", "price x hour"]
    low, high = axes.get_ylim()
    assert low > high
    axes.figure.savefig(tmp_path / "a.png")  # a name is no formula: "$site_$" would not be one
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(report.plot(top=1).patches) == 1


def test_the_map_holds_every_pair(report, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    axes = report.plot("map")
    assert axes.images[0].get_array().tolist() == report.pair_strengths.tolist()
    assert texts(axes.get_xticklabels()) == ["$site_$", "price", "hour"]
    axes.figure.savefig(tmp_path / "a.png")
    two = report.plot("map", top=2)
    assert texts(two.get_yticklabels()) == ["$site_$", "hour"]
    assert two.images[0].get_array().tolist() == [[0, 2], [2, 0]]


def test_axes_of_ones_own_are_drawn_on(report):
    figure = pytest.importorskip("matplotlib.figure", reason="plots need matplotlib").Figure()
    axes = figure.subplots()
    assert report.plot(ax=axes) is axes
    assert len(axes.patches) == 2


def test_pyplot_is_left_alone():
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    code = (
        "import sys, nid_plugins as nid; from nid_plugins.report import InteractionReport;"
        "r = InteractionReport([], nid.FeatureSchema([nid.DenseField('a'), nid.DenseField('b')]));"
        "assert 'matplotlib' not in sys.modules; r.plot(); r.plot('map');"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_does_not_fit_is_refused(report):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("plots need matplotlib")
    for wrong in ({"kind": "pie"}, {"top": 0}, {"top": True}, {"ax": 3}):
        with pytest.raises(SettingError):
            report.plot(**wrong)


def test_without_matplotlib_the_extra_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"nid-plugins\[report\]"):
        report.plot()
