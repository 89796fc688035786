"""The router: who answers whom, in which order, and what is written down of it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import nid_plugins as nid
from nid_plugins import hookimpl
from nid_plugins.experiment import Design, Namespace, Router, Variant, assign
from nid_plugins.plugins import PluginManager

DESIGN = Design("exp")


def constant(value):
    return lambda columns: np.full(len(columns["site"]), value)


@pytest.fixture
def router_of(schema):
    """Return a function from models to a router; plain functions return probabilities."""
    made = []

    def make(control=None, treatment=None, design=DESIGN, **options):
        models = {
            name: nid.wrap(model, schema, output="probability")
            if type(model).__name__ == "function"
            else model
            for name, model in {
                "control": control if control is not None else constant(0.25),
                "treatment": treatment if treatment is not None else constant(0.75),
            }.items()
        }
        made.append(Router(design, models, schema, **options))
        return made[-1]

    yield make
    for router in made:
        router.close()


@pytest.mark.parametrize("as_frame", [dict, pd.DataFrame, lambda frame: pl.DataFrame(frame).to_arrow()])
def test_frameworks_are_mixed_and_each_row_has_its_variant_s_answer_in_place(
    module_of, deepfm_of, schema, frame_of, recorder, as_frame
):
    control, treatment = module_of(), deepfm_of()
    frame = frame_of(200)
    expected = np.stack(
        [nid.wrap(control, schema).probabilities(frame), nid.wrap(treatment, schema).probabilities(frame)]
    )
    variants = assign(DESIGN, frame["user_id"])
    with Router(DESIGN, {"control": control, "treatment": treatment}, schema, sinks=[recorder]) as router:
        answer = router.predict(as_frame(frame))
    np.testing.assert_allclose(answer.predictions, expected[variants, np.arange(200)], atol=1e-6)
    assert answer.variants.tolist() == [DESIGN.variants[k].name for k in variants]
    assert answer.served.tolist() == answer.variants.tolist()
    assert not answer.fallback.any()
    assert 60 < (variants == 1).sum() < 140  # both had something to do
    (events,) = recorder.batches
    assert [e["unit"] for e in events] == frame["user_id"].tolist()
    assert [e["variant"] for e in events] == answer.variants.tolist()
    np.testing.assert_array_equal(events.column("prediction"), answer.predictions)
    assert [e["impression"] for e in events] == answer.impressions
    assert recorder.calls == ["close"]


def test_models_are_left_as_they_were(module_of, deepfm_of, schema, frame_of):
    models = {"control": module_of(), "treatment": deepfm_of().train()}
    states = {k: {n: t.clone() for n, t in m.state_dict().items()} for k, m in models.items()}
    random_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    with Router(DESIGN, models, schema, limit_ms=5000, covariate=True) as router:
        for seed in range(3):
            router.predict(frame_of(50, seed))
    for name, model in models.items():
        assert all(module.training for module in model.modules())
        assert all(torch.equal(t, states[name][n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_an_event_has_all_it_promises(router_of, frame_of, recorder):
    when = datetime(2030, 1, 31, 12, tzinfo=UTC)
    router = router_of(sinks=[recorder])
    router.predict(frame_of(1), ["42"], impressions=["i1"], request="r1", timestamp=when)
    (event,) = recorder.events
    assert 0 <= event.pop("latency_ms") < 5000
    name = DESIGN.variants[assign(DESIGN, ["42"])[0]].name
    assert event == {
        "experiment": "exp",
        "unit": "42",
        "variant": name,
        "served": name,
        "fallback": False,
        "reason": None,
        "impression": "i1",
        "request": "r1",
        "timestamp": when,
        "prediction": {"control": 0.25, "treatment": 0.75}[name],
        "covariate": None,
    }


def test_ids_and_times_are_made_up_where_none_are_given(router_of, frame_of, recorder):
    router = router_of(sinks=[recorder])
    before = datetime.now(UTC)
    for seed in range(3):
        router.predict(frame_of(20, seed))
    after = datetime.now(UTC)
    assert len({e["impression"] for e in recorder.events}) == 60
    assert len({e["request"] for e in recorder.events}) == 3
    assert all(before <= e["timestamp"] <= after for e in recorder.events)


def test_times_and_requests_may_differ_by_row(router_of, frame_of, recorder):
    moments = np.arange(4).astype("datetime64[h]").astype("datetime64[us]")
    router_of(sinks=[recorder]).predict(frame_of(4), request=["a", "a", "b", "b"], timestamp=moments)
    assert [e["request"] for e in recorder.events] == ["a", "a", "b", "b"]
    assert [e["timestamp"].hour for e in recorder.events] == [0, 1, 2, 3]


def test_integer_ids_and_a_unit_several_times(router_of, frame_of, recorder):
    router = router_of(sinks=[recorder])
    answer = router.predict(frame_of(6), np.array([7, 8, 7, 9, 8, 7]))
    again = router.predict(frame_of(3), ["7", "8", "9"])  # an integer is its digits
    assert len(set(answer.variants[[0, 2, 5]])) == 1
    assert answer.variants[[0, 1, 3]].tolist() == again.variants.tolist()
    assert [e["unit"] for e in recorder.events[:6]] == ["7", "8", "7", "9", "8", "7"]


def test_units_outside_the_experiment_get_the_control_and_leave_no_exposure(router_of, frame_of, recorder):
    design = Design("exp", coverage=0.5, namespace=Namespace("page", 0.0, 0.5))
    frame = frame_of(400)
    inside = assign(design, frame["user_id"]) >= 0
    answer = router_of(design=design, sinks=[recorder]).predict(frame)
    assert 50 < inside.sum() < 150
    assert (answer.predictions[~inside] == 0.25).all()
    assert answer.served[~inside].tolist() == ["control"] * (~inside).sum()
    assert answer.variants[~inside].tolist() == [None] * (~inside).sum()
    assert not answer.fallback.any()
    assert [e["impression"] for e in recorder.events] == [
        name for name, there in zip(answer.impressions, inside, strict=True) if there
    ]


def test_three_variants_and_one_model_for_two_of_them(schema, frame_of):
    design = Design("abc", variants=(Variant("a", 0.4), Variant("b", 0.3), Variant("c", 0.3)))
    box = nid.wrap(constant(0.1), schema, output="probability")
    other = nid.wrap(constant(0.9), schema, output="probability")
    frame = frame_of(300)
    answer = Router(design, {"c": other, "b": box, "a": box}).predict(frame)
    variants = assign(design, frame["user_id"])
    assert (answer.predictions == np.where(variants == 2, 0.9, 0.1)).all()
    assert answer.served.tolist() == answer.variants.tolist()


def test_logits_become_probabilities(schema, frame_of):
    frame = frame_of(50)
    with Router(
        DESIGN,
        {"control": lambda c: c["price"] * 4 - 2, "treatment": lambda c: c["price"] * 4 - 2},
        schema,
        wrap={"output": "logit"},
    ) as router:
        answer = router.predict(frame)
    np.testing.assert_allclose(
        answer.predictions, 1 / (1 + np.exp(2 - 4 * frame["price"].astype(float))), rtol=1e-6
    )


def test_no_rows_no_answer_no_exposure(router_of, frame_of, recorder):
    answer = router_of(sinks=[recorder]).predict(frame_of(0))
    assert len(answer) == 0
    assert answer.predictions.shape == (0,)
    assert answer.variants.tolist() == answer.served.tolist() == answer.impressions == []
    assert recorder.batches == []


def test_the_hook_gets_every_event(router_of, frame_of):
    seen = []

    class Plugin:
        @hookimpl
        def nid_exposure(self, events):
            seen.append(events)

    manager = PluginManager(builtins={}, entry_points=False, environ={})
    manager.register(Plugin(), "watcher")
    answer = router_of(manager=manager).predict(frame_of(10))
    (events,) = seen
    assert [event["impression"] for event in events] == answer.impressions
    assert len(events) == 10


def test_a_hook_that_raises_is_a_warning(router_of, frame_of):
    class Plugin:
        @hookimpl
        def nid_exposure(self, events):
            raise OSError("no line")

    manager = PluginManager(builtins={}, entry_points=False, environ={})
    manager.register(Plugin(), "watcher")
    with pytest.warns(nid.NidWarning, match="no line"):
        assert len(router_of(manager=manager).predict(frame_of(10))) == 10


def test_the_control_predicts_for_everybody_when_asked(router_of, frame_of, recorder):
    frame = frame_of(100)
    router = router_of(control=lambda c: c["price"] / 2, covariate=True, sinks=[recorder])
    answer = router.predict(frame)
    np.testing.assert_allclose(answer.covariate, frame["price"] / 2, rtol=1e-6)
    np.testing.assert_allclose([e["covariate"] for e in recorder.events], frame["price"] / 2, rtol=1e-6)
    assert set(answer.predictions[answer.variants == "treatment"]) == {0.75}


def test_a_share_of_the_requests_is_enough(router_of, frame_of, recorder):
    router = router_of(covariate=0.25, sinks=[recorder])
    for seed in range(200):
        router.predict(frame_of(3, seed))
    known = [batch.column("covariate") for batch in recorder.batches]
    assert all(np.isnan(c).all() or not np.isnan(c).any() for c in known)  # a request is asked for or not
    assert 20 <= sum(not np.isnan(c).any() for c in known) <= 85  # seven standard deviations


def test_a_control_that_fails_in_the_extra_prediction_costs_the_covariate_only(router_of, frame_of):
    calls = []

    def flaky(columns):
        calls.append(len(columns["site"]))
        if len(calls) > 1:
            raise OSError("gone")
        return np.full(len(columns["site"]), 0.25)

    answer = router_of(control=flaky, covariate=True).predict(frame_of(100))
    mine = answer.variants == "control"
    assert (answer.covariate[mine] == 0.25).all()
    assert np.isnan(answer.covariate[~mine]).all()
    assert not np.isnan(answer.predictions).any()


def test_candidates_are_logged_when_they_are_shown(router_of, frame_of, recorder):
    frame = frame_of(12)
    units = np.repeat(["u1", "u2", "u3"], 4)
    router = router_of(control=lambda c: c["price"] / 2, covariate=True, sinks=[recorder])
    answer = router.predict(frame, units, log=False)
    assert recorder.batches == []
    router.expose(answer, [1, 6, 8])
    assert [e["impression"] for e in recorder.events] == [answer.impressions[i] for i in (1, 6, 8)]
    # What the control thinks of the shown row depends on who chose it; of all candidates it does not.
    means = (frame["price"] / 2).reshape(3, 4).mean(axis=1)
    np.testing.assert_allclose([e["covariate"] for e in recorder.events], means, rtol=1e-6)
    router.expose(answer, np.arange(12) == 3, covariate=np.arange(12.0))
    assert recorder.events[-1]["covariate"] == 3.0
    router.expose(answer, [])
    assert len(recorder.events) == 4
    for bad in ([12], [-1], ["a"], [0.5], np.ones(3, bool)):
        with pytest.raises(nid.FrameError, match="not rows"):
            router.expose(answer, bad)
    with pytest.raises(nid.FrameError, match="covariate"):
        router.expose(answer, [1], covariate=[0.1])


@pytest.mark.parametrize(
    ("changed", "options", "match"),
    [
        ({"user_id": None}, {}, "user_id"),
        ({}, {"units": ["a", None, "c"]}, "user_id"),
        ({}, {"units": [1.0, 2.0, 3.0]}, "user_id"),
        ({}, {"units": ["a", "b"]}, "differ in length"),
        ({}, {"impressions": ["a", "b", "a"]}, "impression id twice"),
        ({}, {"impressions": ["a", "b"]}, "impressions"),
        ({}, {"impressions": ["a", None, "b"]}, "impressions"),
        ({}, {"request": ["a"]}, "request"),
        ({}, {"timestamp": np.zeros(2, "M8[us]")}, "timestamp"),
        ({}, {"timestamp": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"site": np.array([0, 50, 1])}, {}, "out of range"),
        ({"price": np.array([0.1, np.nan, 1])}, {}, "not finite"),
        ({"site": None}, {}, "lacks columns"),
    ],
)
def test_a_bad_request_is_refused_before_any_model_is_asked(
    router_of, frame_of, recorder, changed, options, match
):
    asked = []

    def model(columns):
        asked.append(columns)
        return np.full(len(columns["site"]), 0.5)

    frame = {k: v for k, v in (frame_of(3) | changed).items() if v is not None}
    with pytest.raises(nid.NidError, match=match) as caught:
        router_of(model, model, sinks=[recorder]).predict(frame, **options)
    assert isinstance(caught.value, nid.FrameError | nid.SettingError)
    assert asked == recorder.batches == []


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["control"], "without a model"),
        ([], "without a model"),
        (["control", "treatment", "tratment"], "unknown variant"),
    ],
)
def test_models_and_variants_must_agree(schema, names, match):
    box = nid.wrap(constant(0.5), schema, output="probability")
    with pytest.raises(nid.SettingError, match=match):
        Router(DESIGN, dict.fromkeys(names, box))


@pytest.mark.parametrize(
    "options",
    [
        {"limit_ms": 0},
        {"limit_ms": float("nan")},
        {"covariate": 1.5},
        {"covariate": "yes"},
        {"failures": 0},
        {"pause_s": -1},
        {"workers": 0},
        {"sinks": [object()]},
        {"sinks": 3},
        {"wrap": {"ouptut": "logit"}},
        {"wrap": "logit"},
    ],
)
def test_options_out_of_range(router_of, options):
    with pytest.raises(nid.SettingError, match=next(iter(options))):
        router_of(**options)


def test_what_is_no_design_or_no_models_is_said(schema):
    with pytest.raises(nid.SettingError, match="design"):
        Router("exp", {}, schema)
    with pytest.raises(nid.SettingError, match="models"):
        Router(DESIGN, [constant(1)], schema)
    with pytest.raises(nid.UnsupportedError):
        Router(DESIGN, {"control": 3, "treatment": 4}, schema)
