"""``nid.inject`` and ``nid.cross_embeddings``: which adapter does it, what plug-ins hear of it, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.plugins import PluginManager, use_manager

FRAME = {"a": [0, 1, 0, 1] * 5, "b": [0, 0, 1, 1] * 5}
SCHEMA = nid.FeatureSchema([nid.SparseField("a", 2), nid.SparseField("b", 2)])


class Sum:
    """A model that adds its two fields; ``extra`` is one number a cross id."""

    def __init__(self, crosses=None):
        self.crosses = crosses
        self.extra = None if crosses is None else [np.zeros(size + 1) for size in crosses.vocabulary_sizes]


class Columns(list):
    """Feature columns of the framework :class:`Sum` belongs to."""


class SumAdapter(nid.Adapter):
    name = "sum"
    classes = (f"{Sum.__module__}.Sum",)

    def claims_columns(self, columns):
        return isinstance(columns, Columns)

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        return SumPredictor(model)

    def inject(self, model, crosses, *, mode, columns=None, scale=0.0):
        target = Sum(crosses) if mode == "residual" else model([*columns, *crosses.names])
        target.mode, target.scale = mode, scale
        return target

    def cross_embeddings(self, model):
        if model.crosses is None:
            return super().cross_embeddings(model)
        return {
            name: extra[:, None].astype(np.float32)
            for name, extra in zip(model.crosses.names, model.extra, strict=True)
        }


class SumPredictor(nid.Predictor):
    output = "logit"

    def __init__(self, model):
        self.model = model

    def __call__(self, rows):
        return rows.sum(axis=1)


class Plugin:
    def __init__(self):
        self.heard = []

    @nid.hookimpl
    def nid_register_adapters(self, register):
        register(SumAdapter())

    @nid.hookimpl
    def nid_before_inject(self, model, crosses):
        self.heard.append(("before", model, crosses))

    @nid.hookimpl
    def nid_after_inject(self, model, target, crosses):
        self.heard.append(("after", model, target, crosses))


@pytest.fixture
def plugin():
    manager, plugin = PluginManager(entry_points=False, environ={}), Plugin()
    manager.register(plugin, "sum")
    with use_manager(manager):
        yield plugin


@pytest.fixture(scope="module")
def crosses():
    return nid.fit_crosses([("a", "b")], FRAME, SCHEMA)


def test_residual_goes_to_the_model_s_adapter_and_plugins_hear_of_it(plugin, crosses):
    model = Sum()
    target = nid.inject(model, crosses, scale=2.0)
    assert (target.mode, target.scale, target.crosses) == ("residual", 2.0, crosses)
    assert plugin.heard == [("before", model, crosses), ("after", model, target, crosses)]
    embeddings = nid.cross_embeddings(target)
    assert {name: values.shape for name, values in embeddings.items()} == {"a__x__b": (5, 1)}


def test_rebuild_goes_to_the_columns_adapter(plugin, crosses):
    built = []

    def builder(columns):
        built.append(columns)
        return Sum()

    target = nid.inject(builder, crosses, mode="rebuild", columns=Columns(["a", "b"]))
    assert target.mode == "rebuild"
    assert built == [["a", "b", "a__x__b"]]
    assert plugin.heard[0] == ("before", builder, crosses)


def refused(error, said, *arguments, **options):
    with pytest.raises(error, match=said):
        nid.inject(*arguments, **options)


def test_what_is_refused_before_anything_is_touched(plugin, crosses):
    refused(nid.SettingError, "unknown mode of injection; received: 'resid'", Sum(), crosses, mode="resid")
    refused(nid.SettingError, "takes no columns", Sum(), crosses, columns=Columns())
    refused(
        nid.SettingError, "received: Sum, columns=given", Sum(), crosses, mode="rebuild", columns=Columns()
    )
    refused(nid.SettingError, "received: function, columns=None", lambda c: c, crosses, mode="rebuild")
    refused(nid.UnsupportedError, "no adapter claims the model; received: builtins.object", object(), crosses)
    refused(nid.UnsupportedError, "feature columns", Sum, crosses, mode="rebuild", columns=[1])
    refused(nid.SettingError, "not crosses; received: list", Sum(), [("a", "b")])
    assert plugin.heard == []


def test_embeddings_of_a_model_without_crosses(plugin):
    with pytest.raises(
        nid.UnsupportedError, match="no injected crosses; received: Sum; Call nid.inject first"
    ):
        nid.cross_embeddings(Sum())
    with pytest.raises(nid.UnsupportedError, match="no adapter claims"):
        nid.cross_embeddings(object())
