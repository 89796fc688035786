"""Hooks: every block is a plug-in, which is registered, and asked or told what its hook is for."""

from __future__ import annotations

import contextlib
import io
import sys
import types

import docs_clicks
import numpy as np
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.adapter import Predictor
from nid_plugins.plugins import PluginManager, use_manager

SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
LOG = docs_clicks.clicks(SCHEMA, 500)
SETTINGS = {"instances": 20, "perturbations": 100, "seed": 0, "progress": False}


class Model:
    """A model of the framework that ``MyAdapter`` knows."""


Model.__module__ = "my_framework.models"


class MyPredictor(Predictor):
    output = "logit"

    def __init__(self, model, schema):
        self.names = schema.names

    def __call__(self, rows):
        return docs_clicks.logit({name: rows[:, j] for j, name in enumerate(self.names)})


def given():
    for name, held in (("my_nid_plugin", {}), ("my_nid_plugin.predictor", {"MyPredictor": MyPredictor})):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(held)
    return {}


@contextlib.contextmanager
def registered(page):
    """Register the block's hooks as one plug-in, and take them out of the page: the next block is another plug-in."""
    plugin = types.ModuleType("of_the_page")
    vars(plugin).update({name: page.pop(name) for name in list(page) if name.startswith("nid_")})
    manager = PluginManager(environ={"NID_LOAD_PLUGINS": "torch"})  # of installed ones PyTorch's alone
    manager.register(plugin, "of the page")
    assert manager.problems == []
    with use_manager(manager):
        yield manager


def detect(**options):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        box = nid.wrap(docs_clicks.logit, SCHEMA, output="logit")
        report = nid.detect(box, LOG, **{**SETTINGS, **options})
    return report, printed.getvalue()


def adapter(page, printed):
    with registered(page):
        logits = nid.wrap(Model(), SCHEMA).logits(LOG)
        np.testing.assert_allclose(logits, docs_clicks.logit(LOG), rtol=1e-6)


def detector(page, printed):
    with registered(page):
        report, _ = detect(detector="first-pair", prune="none")
        assert [found.fields for found in report.interactions] == [("site", "item")]


def baseline(page, printed):
    with registered(page):
        assert detect(baseline="zero")[0].interactions[0].fields == ("site", "item")


def executor(page, printed):
    with registered(page):
        assert detect(executor="plain")[0].interactions == detect(executor="serial")[0].interactions


def domain(page, printed):
    with registered(page):
        found = nid.explain(
            lambda baskets: [float({"bread", "butter"} <= set(basket)) for basket in baskets],
            {"bread", "butter", "milk", "tea"},
            domain="baskets",
            output="score",
        )
        assert found.top(1) == [("bread", "butter")]


def command(page, printed):
    with registered(page):
        (hello,) = [one for one in nid.get_manager().commands() if one.name == "hello"]
        assert CliRunner().invoke(hello).output == "hello\n"


def before_detect(page, printed):
    with registered(page):
        assert detect()[0].settings["perturbations"] == 100
        wide = nid.FeatureSchema(nid.DenseField(f"f{i}") for i in range(101))
        rows = {name: np.random.default_rng(0).random(8) for name in wide.names}
        box = nid.wrap(lambda columns: columns["f0"], wide, output="logit")
        options = {**SETTINGS, "detector": "matching_pursuit", "perturbations": 400}
        assert nid.detect(box, rows, **options).settings["perturbations"] == 800


def after_detect_prints(page, printed):
    with registered(page):
        assert "site x item" in detect()[1]


def after_detect_saves(page, printed):
    with registered(page):
        report, _ = detect()
        assert nid.InteractionReport.load("last-report.json") == report


def injected(page):
    """Return what is printed while two crosses are injected into a PyTorch module."""
    with registered(page), contextlib.redirect_stdout(io.StringIO()) as said:
        crosses = nid.fit_crosses([("site", "item"), ("item", "hour")], LOG, SCHEMA)
        nid.inject(docs_clicks.torch_model(SCHEMA), crosses, output="logit")
    return said.getvalue()


def before_inject(page, printed):
    assert injected(page) == "adding 2 crosses to a Clicks\n"


def after_inject(page, printed):
    assert injected(page).endswith(" has site__x__item, item__x__hour\n")


def epoch_end(page, printed):
    with registered(page) as manager, contextlib.redirect_stdout(io.StringIO()) as said:
        manager.notify("nid_epoch_end", state={"epoch": 0, "model": None})
        assert said.getvalue() == "epoch 0 is over\n"


def exposure(page, printed):
    with registered(page) as manager, contextlib.redirect_stdout(io.StringIO()) as said:
        manager.notify("nid_exposure", events=[{"unit": "ann", "variant": "base"}])
        assert said.getvalue() == "ann base\n"


AFTER = {
    "print(report.to_frame())": after_detect_prints,
    "class MyAdapter": adapter,
    "class FirstPair": detector,
    "class Zero": baseline,
    "class Plain": executor,
    "class Baskets": domain,
    "def hello": command,
    "def nid_before_detect": before_detect,
    "report.save(": after_detect_saves,
    "def nid_before_inject": before_inject,
    "def nid_after_inject": after_inject,
    "def nid_epoch_end": epoch_end,
    "def nid_exposure": exposure,
}
