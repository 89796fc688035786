"""Tables of any types: what off values become, and real classifiers of scikit-learn's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import nid_plugins as nid
from nid_plugins.domains import Tabular

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "income": rng.normal(3, 1, 400),
            "city": rng.choice(["Rome", "Oslo", "Lima"], 400, p=[0.5, 0.3, 0.2]),
            "children": rng.integers(0, 4, 400),
            "owner": rng.random(400) < 0.3,
        }
    )
    frame["band"] = pd.Categorical(np.where(frame["income"] > 3, "high", "low"))
    return frame


ROW = {"income": 5.0, "city": "Lima", "children": 2, "owner": True, "band": "high"}


def forms(people):
    polars = pytest.importorskip("polars", reason="one of the frames is its")
    row = people.iloc[[0]].assign(**{name: [value] for name, value in ROW.items()})
    return {
        "mapping": ROW,
        "series": pd.Series(ROW),
        "frame": row.astype(people.dtypes),
        "Polars": polars.DataFrame({name: [value] for name, value in ROW.items()}),
        "lists": {name: [value] for name, value in ROW.items()},
    }


@pytest.mark.parametrize("form", ["mapping", "series", "frame", "Polars", "lists"])
def test_batches_have_the_columns_and_types_of_the_background(people, form):
    features = Tabular(background=people).features(forms(people)[form])
    batch = features.batch(np.array([[1] * 5, [0] * 5], bool), RNG)
    assert batch.dtypes.to_dict() == people.dtypes.to_dict()
    assert batch.iloc[0].to_dict() == ROW
    off = batch.iloc[1].to_dict()
    assert off["income"] == pytest.approx(people["income"].mean())
    assert (off["city"], off["owner"]) == ("Rome", False)
    assert off["children"] == people["children"].mode()[0]


def test_off_values_may_be_given_or_drawn(people):
    given = Tabular(off={**ROW, "city": "Oslo"}).features(ROW)
    assert given.batch(np.zeros((1, 5), bool), RNG).iloc[0].to_dict() == {**ROW, "city": "Oslo"}
    assert given.unswitched().tolist() == [True, False, True, True, True]
    drawn = Tabular(background=people, off="sample").features(ROW)
    batch = drawn.batch(np.zeros((500, 5), bool), np.random.default_rng(0))
    rows = {tuple(row) for row in people.itertuples(index=False)}
    assert all(tuple(row) in rows for row in batch.itertuples(index=False))
    assert 0.1 < (batch["city"] == "Lima").mean() < 0.3


def test_arrays_stay_arrays():
    background = np.random.default_rng(0).normal(size=(50, 3))
    features = Tabular(background=background, names=["a", "b", "c"]).features(np.arange(3.0))
    assert features.labels == ["a", "b", "c"]
    batch = features.batch(np.array([[1, 0, 1]], bool), RNG)
    assert batch[0].tolist() == [0.0, background[:, 1].mean(), 2.0]
    assert Tabular(off=[0, 0, 0]).features([1, 2, 3]).labels == ["x0", "x1", "x2"]


def test_drawn_values_do_not_depend_on_the_batches(people):
    model = lambda frame: frame["income"].to_numpy() * (frame["city"] == "Lima")  # noqa: E731
    found = [
        nid.explain(
            model,
            ROW,
            domain="tabular",
            background=people,
            off="sample",
            output="score",
            perturbations=200,
            batch_size=size,
        )
        for size in (7, 200)
    ]
    assert found[0] == found[1]
    assert found[0].queries == 200


@pytest.mark.parametrize("detector", ["least_squares", "nid", "gradient_nid", "archdetect"])
def test_a_forest_of_scikit_learn_shows_its_pair(detector):
    ensemble = pytest.importorskip("sklearn.ensemble", reason="the classifier is scikit-learn's")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1500, 5))
    y = (x[:, 1] > 0) == (x[:, 3] > 0)
    forest = ensemble.RandomForestClassifier(20, min_samples_leaf=10, random_state=0).fit(x, y)
    found = nid.explain(
        forest,
        np.array([0.2, 0.7, -0.3, 0.6, 0.1]),
        domain="tabular",
        off=[-0.5] * 5,
        detector=detector,
        perturbations=400,
    )
    assert found.settings["output"] == "probability"
    assert found.interactions[0].labels == ("x1", "x3")


def test_a_wrapped_model_can_be_asked_too():
    schema = nid.FeatureSchema([nid.DenseField("a"), nid.DenseField("b"), nid.DenseField("c")])
    box = nid.wrap(lambda columns: columns["a"] * columns["b"] + columns["c"], schema, output="logit")
    found = nid.explain(box, {"a": 1.0, "b": 2.0, "c": 3.0}, domain="tabular", off=dict.fromkeys("abc", 0.0))
    assert [one.labels for one in found] == [("a", "b")]


@pytest.mark.parametrize(
    ("instance", "options", "error", "message"),
    [
        (ROW, {}, nid.SettingError, "needs a background"),
        (ROW, {"off": "mean"}, nid.SettingError, "unknown off"),
        (ROW, {"off": 3}, nid.SettingError, "unknown off"),
        (ROW, {"off": {"income": 1}}, nid.SettingError, "off does not fit"),
        ({"income": 1.0, "x": 2}, {"background": True}, nid.FrameError, r"lacks columns; received: \['x'\]"),
        ({**ROW, "band": "middle"}, {"background": True}, nid.FrameError, "not a category"),
        ({"income": [1, 2], "city": ["a", "b"]}, {"background": True}, nid.FrameError, "not one row"),
        ("row", {"background": True}, nid.FrameError, "not a row"),
        ([1, 2, 3], {"background": np.zeros((4, 2))}, nid.FrameError, "the background does not fit"),
        ([1, 2, 3], {"off": [0, 0]}, nid.FrameError, "off does not fit"),
        ([1, "a"], {"off": [0, 0]}, nid.FrameError, "the instance does not fit"),
        ([1, 2], {"off": [0, 0], "names": ["a"]}, nid.FrameError, "names do not fit"),
    ],
)
def test_what_does_not_fit(people, instance, options, error, message):
    options = {**options, "background": people} if options.get("background") is True else options
    with pytest.raises(error, match=message):
        Tabular(**options).features(instance)
