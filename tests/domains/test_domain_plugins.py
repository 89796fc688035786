"""Domains of third parties: registered through the hook, refused where they break the contract; and rows of CTR models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection import Detector, Explanation
from nid_plugins.domains import Domain, Features
from nid_plugins.plugins import PluginManager, use_manager


class Basket(Features):
    def __init__(self, items):
        self.labels = items

    def batch(self, on, rng):
        return [[item for item, kept in zip(self.labels, row, strict=True) if kept] for row in on]


@dataclass(frozen=True, eq=False)
class Baskets(Domain):
    most: int = 50
    name = "baskets"

    def features(self, instance):
        return Basket(sorted(instance)[: self.most])


class Plugin:
    def __init__(self, domain):
        self.domain = domain

    @nid.hookimpl
    def nid_register_domains(self, register):
        register(self.domain)


@pytest.fixture
def manager():
    with use_manager(PluginManager(entry_points=False, environ={})) as _:
        yield nid.get_manager()


def together(baskets):
    return [2.0 * ({"bread", "butter"} <= set(basket)) + ("milk" in basket) for basket in baskets]


class Listener:
    """A plug-in that counts the hooks of detections, and would change a setting."""

    def __init__(self):
        self.heard = []

    @nid.hookimpl
    def nid_before_detect(self, request):
        self.heard.append("before")
        return {"perturbations": 50}

    @nid.hookimpl
    def nid_after_detect(self, report):
        self.heard.append(type(report).__name__)


def test_an_explanation_of_a_domain_sends_no_hooks_and_one_of_a_row_does(manager):
    """Also where the instance is a row of numbers: a domain has no schema that a plug-in could rely on."""
    listener = Listener()
    manager.register(Plugin(Baskets()), "shop")
    manager.register(listener, "listener")
    row = {"a": 1.0, "b": 2.0, "c": 3.0}

    def product(rows):
        return rows["a"] * rows["b"]

    found = nid.explain(together, {"milk", "bread"}, domain="baskets", output="score", perturbations=100)
    assert found.settings["perturbations"] == 100
    background = np.zeros((5, 3))
    nid.explain(
        lambda x: x[:, 0] * x[:, 1],
        np.ones(3),
        domain="tabular",
        background=background,
        output="score",
        perturbations=100,
    )
    assert listener.heard == []
    schema = nid.FeatureSchema([nid.DenseField(name) for name in row])
    box = nid.wrap(product, schema, output="logit")
    report = nid.explain(box, row, background={name: np.zeros(5) for name in row}, perturbations=100)
    assert listener.heard == ["before", "InteractionReport"]
    assert report.settings["perturbations"] == 50


def test_a_domain_of_a_plug_in_is_used_by_its_name(manager):
    manager.register(Plugin(Baskets()), "shop")
    basket = {"milk", "bread", "butter", "salt"}
    found = nid.explain(together, basket, domain="baskets", output="score", perturbations=100)
    assert found.interactions[0].fields == (("bread", 0), ("butter", 1))
    assert found.settings["domain"] == {"name": "baskets", "most": 50}
    assert found.shown == {"kind": "list"}
    assert "<mark>bread</mark>, <mark>butter</mark>" in found._repr_html_()
    few = nid.explain(together, basket, domain="baskets", most=2, output="score", perturbations=100)
    assert few.labels == ("bread", "butter")
    direct = nid.explain(together, basket, domain=Baskets(most=2), output="score", perturbations=100)
    assert direct == few


def test_the_built_in_ones_are_registered_the_same_way(manager):
    assert set(manager.domains()) == {"text", "image", "tabular", "sequence", "graph"}
    assert manager.problems == []


def load(manager, thing):
    manager.register(Plugin(thing), "bad")
    return manager.domains()


@pytest.mark.parametrize("thing", [object(), Baskets, "baskets"])
def test_what_is_no_domain_is_a_problem_of_its_plug_in(manager, thing):
    with pytest.warns(nid.NidWarning, match="registered an unusable domain"):
        load(manager, thing)
    assert any("'bad'" in problem for problem in manager.problems)


def broken(**attributes):
    features = type("Broken", (Basket,), attributes)(["a", "b", "c"])
    return type("Odd", (Domain,), {"name": "odd", "features": lambda self, instance: features})()


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (type("Odd", (Domain,), {"name": "odd", "features": lambda self, x: x})(), "unusable features"),
        (
            type("Odd", (Domain,), {"name": "odd", "features": lambda self, x: 1 / 0})(),
            "raised ZeroDivisionError",
        ),
        (broken(unswitched=lambda self: [0, 1]), "unusable unswitched features"),
        (broken(batch=lambda self, on, rng: []), "a batch of another size"),
        (broken(batch=lambda self, on, rng: 1 / 0), "the domain raised ZeroDivisionError"),
        (broken(labels=property(lambda self: [1, 2], lambda self, value: None)), "unusable labels"),
    ],
)
def test_a_domain_that_breaks_the_contract_is_named(domain, message):
    with pytest.raises(nid.PluginError, match=message):
        nid.explain(together, ["x"], domain=domain, output="score", perturbations=50)


def test_a_detector_that_breaks_the_contract_is_named():
    class Bad(Detector):
        name = "bad"

        def fit(self, state, targets, seeds):
            return [Explanation([(5, 1)], np.ones(1))]

    with pytest.raises(nid.PluginError, match="the detector 'bad' returned unusable sets"):
        nid.explain(
            together, ["x", "y", "z"], domain=Baskets(), detector=Bad(), output="score", perturbations=50
        )


@pytest.mark.parametrize("prune", ["paper", "none"])
def test_the_detector_s_own_ranking_can_be_had(prune):
    found = nid.explain(
        together,
        ["bread", "butter", "milk", "salt"],
        domain=Baskets(),
        output="score",
        perturbations=300,
        prune=prune,
        top_k=3,
    )
    assert found.interactions[0].labels == ("bread", "butter")
    assert len(found) <= 3
    assert np.isnan(found.interactions[0].gain)
    assert found.interactions[0].strength > 0


def test_rows_of_ctr_models_are_explained_as_they_were():
    schema = nid.FeatureSchema([nid.DenseField("a"), nid.DenseField("b"), nid.DenseField("c")])
    box = nid.wrap(lambda columns: columns["a"] * columns["b"] + columns["c"], schema, output="logit")
    background = {name: np.zeros(3) for name in "abc"}
    row = {"a": 1.0, "b": 2.0, "c": 3.0}
    settings = {"background": background, "perturbations": 100}
    report = nid.explain(box, row, **settings)
    assert isinstance(report, nid.InteractionReport)
    assert report == nid.detection.explain(box, row, **settings)
    assert report.top(1) == [("a", "b")]
    with pytest.raises(TypeError, match="unexpected keyword argument 'target'"):
        nid.explain(box, row, target=1, **settings)
    with pytest.raises(nid.SettingError, match="not a wrapped model"):
        nid.explain(together, row, **settings)
