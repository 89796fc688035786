"""The core of CrossInjector: when it looks, what it chooses, that nothing it does stops training, and its state."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.callbacks import CrossInjector
from nid_plugins.callbacks.picking import unions
from nid_plugins.errors import ArtefactError, FrameError, NidWarning, SettingError
from nid_plugins.plugins import get_manager

SMALL = {"instances": 40, "perturbations": 200}


@pytest.fixture(scope="module")
def clicks(schema):
    """Rows to train on and held-out ones, clicked by the pairs (a, b) and (c, d)."""
    rng = np.random.default_rng(8)

    def draw(n):
        frame = {name: rng.integers(0, 4, n) for name in schema.names}
        logit = 1.5 * np.where((frame["a"] + frame["b"]) % 2, 1, -1) + np.where(
            (frame["c"] > 1) == (frame["d"] > 1), 1, -1
        )
        return frame, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)

    return *draw(3000), *draw(3000)


@pytest.fixture
def made(schema, clicks):
    train, label, valid, valid_label = clicks

    def make(**options):
        given = {"schema": schema, "train": train, "label": label, "valid": valid, "valid_label": valid_label}
        return CrossInjector(**{**given, "detect": SMALL, "wrap": {"output": "logit"}, **options})

    return make


def fields_of(crosses):
    return {cross.fields for cross in crosses.crosses}


def half(columns):
    """A model that has learned the pair (a, b) but not (c, d)."""
    return 1.5 * np.where((columns["a"] + columns["b"]) % 2, 1.0, -1.0) * (columns["e"] != 3)


def flat(columns):
    """A model that has learned no interaction."""
    return 0.1 * columns["a"] + 0.2 * columns["b"]


def test_it_is_due_once_at_the_end_of_the_epoch_asked_for(made):
    core = made(after=2)
    assert [core.due(epoch) for epoch in range(4)] == [False, True, True, True]
    assert core.apply(flat, lambda crosses: None, epoch=1)
    assert not any(core.due(epoch) for epoch in range(4))
    assert (core.status, core.epoch) == ("injected", 1)


def test_pairs_the_model_does_not_show_are_chosen_for_what_they_add(made):
    core = made()
    assert fields_of(core.choose(flat)) == {("a", "b"), ("c", "d")}
    assert core.choice.how == "screened"
    assert set(core.choice.gains) == set(core.crosses.names)
    assert min(core.choice.gains.values()) > 0.01
    # What the model can do already adds nothing to it; what it does wrongly for e = 3 does.
    assert fields_of(made(max_crosses=1).choose(half)) == {("c", "d")}


def test_without_further_pairs_only_detected_sets_are_tried(made):
    core = made(pairs=0)
    with pytest.warns(NidWarning, match="no interactions"):
        assert core.choose(flat) is None
    assert core.status == "nothing"
    assert {one.fields for one in made(pairs=0).chooser(half).screening} == {
        ("a", "b"),
        ("a", "e"),
        ("b", "e"),
        ("a", "b", "e"),
    } & {tuple(i.fields) for i in made(pairs=0).chooser(half).report}


def triple_world(names, n, rng):
    """Rows clicked by the triple (a, b, c), whose parity no pair of its fields shows, and by its pairs a little."""
    frame = {name: rng.integers(0, 4, n) for name in names}
    a, b, c = (np.where(frame[name] % 2, 1.0, -1.0) for name in "abc")
    logit = 1.5 * a * b * c + 0.5 * a * b + 0.5 * b * c
    return frame, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)


@pytest.mark.parametrize("few", [False, True])
def test_pairs_that_are_picked_bring_the_triple_they_make(made, schema, few):
    rng = np.random.default_rng(4)
    train, label = triple_world(schema.names, 6000, rng)
    valid, valid_label = triple_world(schema.names, 900 if few else 6000, rng)
    rows = {"train": train, "label": label, "valid": valid, "valid_label": valid_label}
    core = made(**rows)
    found = fields_of(core.choose(flat))
    assert core.choice.how == ("refitted" if few else "screened")
    assert ("a", "b", "c") in found
    assert found <= {("a", "b", "c"), ("a", "b"), ("b", "c")}


def test_uncertain_pairs_do_not_take_the_places_of_a_triple(made, schema):
    """All places were once filled with pairs of no certain gain, which were then dropped, before triples had a turn."""
    rng = np.random.default_rng(4)
    train, label = triple_world(schema.names, 6000, rng)
    valid, valid_label = triple_world(schema.names, 6000, rng)
    rows = {"train": train, "label": label, "valid": valid, "valid_label": valid_label, "max_crosses": 3}
    wanted = {("a", "b"), ("b", "c"), ("a", "b", "c")}
    assert fields_of(made(**rows).choose(flat)) == wanted
    assert fields_of(made(**rows, screen={"l2": 300.0}).choose(flat)) == wanted
    crowded = fields_of(made(**rows, screen={"l2": 300.0, "errors": 0.0}).choose(flat))
    assert len(crowded) == 3
    assert crowded != wanted


def test_unions_are_triples_of_pairs_that_share_a_field(schema):
    pairs = [("a", "b"), ("c", "d"), ("c", "b"), ("a", "b", "e")]
    assert unions(pairs, schema, 10) == [("a", "b", "c"), ("b", "c", "d")]
    assert unions(pairs, schema, 1) == [("a", "b", "c")]
    assert unions(pairs[:2], schema, 10) == []


def test_few_held_out_rows_give_way_to_fits_on_training_rows(made, clicks):
    _train, _label, valid, valid_label = clicks
    few = {"valid": {name: column[:150] for name, column in valid.items()}, "valid_label": valid_label[:150]}
    core = made(**few)
    assert {("a", "b"), ("c", "d")} <= fields_of(core.choose(flat))
    assert core.choice.how == "refitted"
    # Without labels of the training rows the few are all there is.
    alone = made(**few, label=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NidWarning)
        alone.choose(flat)
    assert alone.choice.how in {"screened", ""}


def test_held_out_rows_that_speak_against_the_refits_are_heard(made, clicks):
    _train, _label, valid, valid_label = clicks
    few = {name: column[:400] for name, column in valid.items()}
    assert made(valid=few, valid_label=valid_label[:400]).choose(flat) is not None
    core = made(valid=few, valid_label=1 - valid_label[:400])  # where every effect is turned round
    with pytest.warns(NidWarning, match="anything certain"):
        assert core.choose(flat) is None


def test_nothing_worth_injecting_is_said_once_and_never_looked_for_again(made, clicks):
    rng = np.random.default_rng(3)
    noise = {"label": rng.integers(0, 2, 3000), "valid_label": rng.integers(0, 2, 3000)}
    core = made(**noise, after=1)
    with pytest.warns(NidWarning, match="training goes on") as caught:
        assert core.choose(flat, epoch=0) is None
    assert len(caught) == 1
    assert (core.status, core.epoch, core.crosses) == ("nothing", 0, None)
    assert not core.due(1)


def test_a_model_that_fails_is_said_once_and_raises_nothing(made):
    def broken(columns):
        raise RuntimeError("out of order")

    core = made(after=1)
    with pytest.warns(NidWarning, match="out of order") as caught:
        assert not core.apply(broken, lambda crosses: None, epoch=0)
    assert len(caught) == 1
    assert core.status == "failed"
    assert not core.due(5)


def test_a_failing_injection_is_said_once_and_raises_nothing(made):
    core = made()

    def how(crosses):
        raise MemoryError("no room")

    with pytest.warns(NidWarning, match="no room") as caught:
        assert not core.apply(flat, how)
    assert len(caught) == 1
    assert (core.status, core.crosses) == ("failed", None)


def test_an_interruption_is_not_swallowed(made):
    def interrupted(columns):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made().choose(interrupted)


def test_the_same_seed_chooses_the_same(made):
    first, again = made(seed=3), made(seed=3)
    assert first.choose(half).names == again.choose(half).names
    assert first.choice.gains == again.choice.gains


def test_what_has_no_room_is_left_out_before_anything_is_judged(made, schema, clicks):
    core = made()
    seen = []

    def fitting(crosses, train):
        seen.append(len(crosses))
        assert train is clicks[0]
        return crosses.select([name for name in crosses.names if "a" not in name.split("__x__")])

    assert fields_of(core.choose(flat, fitting=fitting)) == {("c", "d")}
    assert seen == [10]
    assert fields_of(made().choose(flat, most=1)) == {("a", "b")}
    with pytest.warns(NidWarning, match="has room"):
        assert made().choose(flat, fitting=lambda crosses, train: None) is None


def test_plugins_hear_of_the_injection(made, schema):
    heard = []

    class Listener:
        @nid.hookimpl
        def nid_before_inject(self, model, crosses):
            heard.append(("before", model, crosses.names))

        @nid.hookimpl
        def nid_after_inject(self, model, target, crosses):
            heard.append(("after", target, crosses.names))

    get_manager().register(Listener(), "injector-listener")
    try:
        core = made()
        core.apply(flat, lambda crosses: heard.append("put"))
    finally:
        get_manager().unregister("injector-listener")
    assert heard == [("before", flat, core.crosses.names), "put", ("after", flat, core.crosses.names)]


def test_its_state_is_json_and_holds_the_crosses(made, clicks):
    core = made()
    waiting = json.loads(json.dumps(core.state_dict()))
    core.apply(flat, lambda crosses: None, epoch=1)
    state = json.loads(json.dumps(core.state_dict()))

    other = made()
    other.load_state_dict(waiting)
    assert other.due(1)
    other.load_state_dict(state)
    assert (other.status, other.epoch, other.output) == ("injected", 1, "logit")
    assert other.crosses.names == core.crosses.names
    assert np.array_equal(other.crosses.transform(clicks[2]), core.crosses.transform(clicks[2]))
    assert not other.due(2)
    assert json.loads(json.dumps(other.state_dict())) == state


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: None,
        lambda state: {"crosses": None},
        lambda state: {**state, "format": "another"},
        lambda state: {**state, "version": 99},
        lambda state: {**state, "status": "unheard of"},
        lambda state: {**state, "crosses": None},
        lambda state: {**state, "status": "waiting"},
        lambda state: {**state, "crosses": {"crosses.json": "e30="}},
        lambda state: {**state, "crosses": {**state["crosses"], "crosses.json": "no base64!"}},
        lambda state: {**state, "crosses": {**state["crosses"], "arrays.safetensors": "AAAA"}},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(made, spoil):
    core = made()
    core.apply(flat, lambda crosses: None)
    other = made()
    with pytest.raises(ArtefactError):
        other.load_state_dict(spoil(core.state_dict()))
    assert (other.status, other.crosses) == ("waiting", None)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"after": 0}, "after"),
        ({"max_crosses": 0}, "max_crosses"),
        ({"candidates": True}, "candidates"),
        ({"pairs": -1}, "pairs"),
        ({"bins": 0}, "bins"),
        ({"min_count": "few"}, "min_count"),
        ({"seed": -1}, "seed"),
        ({"rate": -1.0}, "rate"),
        ({"l2": float("nan")}, "l2"),
        ({"frozen": "yes"}, "frozen"),
        ({"tower": {"wide": 3}}, "tower"),
        ({"tower": {"l2": 0.1}}, "tower"),
        ({"tower": {"dim": 0}}, "dim"),
        ({"tower": 8}, "tower"),
        ({"detect": {"rows": 3}}, "detect"),
        ({"detect": {"detector": "crystal ball"}}, "crystal ball"),
        ({"detect": {"instances": 0}}, "instances"),
        ({"screen": {"frame": None}}, "screen"),
        ({"wrap": ["output"]}, "wrap"),
        ({"train": None}, "train"),
        ({"valid": None}, "valid"),
        ({"valid_label": None, "label": None}, "valid_label"),
        ({"schema": "a, b"}, "schema"),
    ],
)
def test_bad_options_are_named_before_training_begins(made, options, named):
    with pytest.raises(SettingError, match=named):
        made(**options)


def test_frames_and_labels_are_checked_before_training_begins(made, clicks):
    train, label, valid, _valid_label = clicks
    with pytest.raises(FrameError, match="label"):
        made(label=label[:10])
    with pytest.raises(FrameError, match="click"):
        made(label="click")
    with pytest.raises(FrameError, match="'e'"):
        made(valid={name: column for name, column in valid.items() if name != "e"})
    with pytest.raises(FrameError, match="out of range"):
        made(valid={**valid, "a": valid["a"] + 9})
    with pytest.raises(FrameError, match="whole numbers"):
        made(train={**train, "a": train["a"] + 0.5})


def test_labels_may_be_named_as_columns(made, clicks):
    train, label, valid, valid_label = clicks
    named = made(
        train={**train, "click": label},
        label="click",
        valid={**valid, "click": valid_label},
        valid_label=None,
    )
    assert named.choose(flat).names == made().choose(flat).names
