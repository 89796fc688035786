"""A model of Keras that is watched while it trains becomes the same model to the last bit."""

from __future__ import annotations

import functools
import json
import warnings

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf
from nid_keras.ids import value_of

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink, TensorBoardSink
from nid_plugins.errors import NidWarning, SettingError

QUICK = {
    "budget": None,
    "detect": {"detector": "least_squares", "instances": 8, "perturbations": 150},
}


def monitor_of(model, **options):
    valid = nets.frame(80, seed=7)
    options = {"label": nets.labels(valid)[:, 0], "background": nets.frame(), **QUICK, **options}
    return nid.monitor(model, nets.SCHEMA, valid, **options)


def trained(K, callbacks_of, kind="mapping", **fit):
    """Return what training leaves behind: losses, weights, the optimiser's state, and the next random numbers."""
    # So that layers are called the same each time: in which order the penalties are added up goes by their names.
    K.backend.clear_session()
    K.utils.set_random_seed(5)
    model = nets.KINDS[kind](K)
    model.compile(
        K.optimizers.Adam(K.optimizers.schedules.ExponentialDecay(0.05, 4, 0.8)),
        "binary_crossentropy" if nets.PROBABILITY[kind] else K.losses.BinaryCrossentropy(from_logits=True),
        metrics=["AUC"],
    )
    (x,), y = nets.call_of(kind, nets.frame(130)), nets.labels(nets.frame(130))
    callbacks = callbacks_of(model)
    history = model.fit(
        x, y, batch_size=32, epochs=3, shuffle=True, verbose=0, callbacks=callbacks, validation_split=0.2
    )
    optimiser = model.optimizer.variables
    optimiser = optimiser() if callable(optimiser) else optimiser
    later = [
        np.random.random(2),
        tf.random.uniform((2,)).numpy(),
        np.array(K.initializers.GlorotUniform()((2, 2))),
    ]
    state = [*model.get_weights(), *map(value_of, optimiser), *later]
    return history.history, state, callbacks


@functools.cache
def plain(K, kind="mapping"):
    return trained(K, lambda model: [], kind)


def assert_same(one, two):
    assert one[0] == two[0]
    assert len(one[1]) == len(two[1])
    for own, other in zip(one[1], two[1], strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("kind", ["mapping", "subclassed"])
def test_a_watched_training_is_the_same_to_the_last_bit(K, kind):
    watched = trained(K, lambda model: [monitor_of(model)], kind)
    assert_same(plain(K, kind), watched)
    (monitor,) = watched[2]
    assert [check.epoch for check in monitor.history] == [0, 1, 2]
    assert [check.step for check in monitor.history] == [4, 8, 12]
    assert [check.logs["loss"] for check in monitor.history] == watched[0]["loss"]
    assert all(check.instances == 8 for check in monitor.history)
    assert all(check.gains for check in monitor.history) == (kind == "mapping"), "the other knows no crosses"
    assert isinstance(monitor, K.callbacks.Callback)


def test_watched_by_the_step_and_written_to_sinks(K, tmp_path):
    def watched_by(model):
        sinks = [JsonLinesSink(tmp_path / "checks.jsonl"), TensorBoardSink(tmp_path / "events", "tensorflow")]
        return [monitor_of(model, unit="step", every=5, sinks=sinks)]

    watched = trained(K, watched_by)
    assert_same(plain(K), watched)
    assert [(check.epoch, check.step) for check in watched[2][0].history] == [(1, 5), (2, 10)]
    lines = (tmp_path / "checks.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10]
    (events,) = (tmp_path / "events").iterdir()
    assert events.stat().st_size > 1000


def test_what_fails_is_said_once_and_training_is_the_same(K, L):
    class Full:
        def write(self, check):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    wrong = nid.FeatureSchema([*nets.SCHEMA, nid.DenseField("absent")])
    rows = {**nets.frame(30), "absent": np.zeros(30)}

    def two(model):
        return [monitor_of(model, sinks=[Full()]), L.InteractionMonitor(wrong, rows, **QUICK)]

    with pytest.warns(NidWarning) as caught:
        watched = trained(K, two)
    assert_same(plain(K), watched)
    texts = [str(w.message) for w in caught if isinstance(w.message, NidWarning)]
    assert sum("No space left" in text for text in texts) == 2, "writing and closing"
    assert sum("absent" in text for text in texts) == 1
    assert [len(one.history) for one in watched[2]] == [3, 0]


def test_a_monitor_of_ones_own_making(K, L):
    frame = nets.frame(60)
    model = nets.mapping(K)
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(SettingError, match="budget"):
        L.InteractionMonitor(nets.SCHEMA, nets.frame(20), budget=-1)
    monitor = L.InteractionMonitor(nets.SCHEMA, nets.frame(20), stop_after=1, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        for _ in range(2):  # a second fit goes on where the first one stopped
            model.fit(
                *nets.call_of("mapping", frame), nets.labels(frame), epochs=2, verbose=0, callbacks=[monitor]
            )
    assert monitor.core.model is model
    assert monitor.stable or len(monitor.history) == 4
    assert len(monitor.history) > 1
    assert {"epoch", "step"} <= set(monitor.to_frame())
