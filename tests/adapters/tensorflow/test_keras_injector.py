"""Crosses filled into a Keras model while it trains: found, learned, checkpointed; nothing else is disturbed."""

from __future__ import annotations

import functools
import os

import keras_nets as nets
import numpy as np
import pytest
from nid_keras.ids import value_of
from nid_keras.reserved import reserve, tower_of

import nid_plugins as nid
from nid_plugins.errors import ModelError, NidWarning, SettingError, UnsupportedError

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
TRAIN, VALID = nets.frame(600), nets.frame(400, seed=8)
EPOCHS = 4


def reserved(model, **options):
    return reserve(model, nets.SCHEMA, **{"crosses": 3, "size": 700, "bins": 8, "dim": 4, **options})


def injector(L, **options):
    settings = {"after": 2, "max_crosses": 2, "bins": 8, "min_count": 0}
    detect = {"instances": 10, "perturbations": 150}
    return L.CrossInjector(
        None,
        TRAIN,
        nets.labels(TRAIN)[:, 0],
        VALID,
        nets.labels(VALID)[:, 0],
        **settings,
        detect=detect,
        **options,
    )


@functools.cache
def counting(K):
    """A layer that counts how often it is traced."""

    @K.saving.register_keras_serializable(package="tests")
    class Counting(K.layers.Layer):
        traces = 0

        def call(self, inputs):
            type(self).traces += 1
            return inputs

    return Counting


def base(K):
    """A model whose training is a matter of its weights alone: no dropout."""
    K.utils.set_random_seed(2)
    inputs = {name: K.Input((1,), name=name, dtype=nets.DTYPES[name]) for name in nets.SCHEMA.names}
    a, b = (K.layers.Flatten()(K.layers.Embedding(30, 2)(inputs[name])) for name in ("a", "b"))
    h = K.layers.BatchNormalization()(K.layers.Concatenate()([a, b, inputs["x"]]))
    h = counting(K)()(K.layers.Dense(6, activation="relu")(h))
    return K.Model(inputs, K.layers.Dense(1, activation="sigmoid")(h))


def ready(K):
    model = reserved(base(K))
    schedule = K.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    model.compile(K.optimizers.Adam(schedule), "binary_crossentropy")
    return model


def fit(model, callbacks, **options):
    (x,), y = nets.call_of("mapping", TRAIN), nets.labels(TRAIN)
    options = {"epochs": EPOCHS, "shuffle": False, "batch_size": 100, "verbose": 0, **options}
    return model.fit(x, y, callbacks=callbacks, **options).history["loss"]


def state_of(model):
    optimiser = model.optimizer.variables
    optimiser = optimiser() if callable(optimiser) else optimiser
    return [*model.get_weights(), *map(value_of, optimiser)]


def assert_same(one, two):
    assert len(one) == len(two)
    for own, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.fixture(scope="module")
def whole(K, L):
    """A training from start to end, and what was seen on the way."""
    seen = {"traces": [], "states": [], "rates": []}
    count = counting(K)

    class Watch(K.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen["traces"].append(count.traces)

        def on_epoch_end(self, epoch, logs=None):
            seen["traces"][-1] = count.traces - seen["traces"][-1]
            seen["states"].append(state_of(self.model))
            rate = self.model.optimizer.learning_rate
            seen["rates"].append(float(rate(self.model.optimizer.iterations) if callable(rate) else rate))

    class After(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.setdefault("after", []).append(state_of(self.model))

    model, chosen = ready(K), injector(L)
    seen["loss"] = fit(model, [Watch(), chosen, After()])
    return model, chosen, seen


@pytest.mark.parametrize("kind", [kind for kind in nets.KINDS if kind != "columnwise" or not LEGACY])
@pytest.mark.filterwarnings("ignore:the model's .* outputs .*all lie in")
def test_a_model_with_room_returns_what_it_did_to_the_last_bit(K, kind):
    model = nets.KINDS[kind](K)
    call = nets.call_of(kind, nets.frame(200))
    target = reserved(model)
    np.testing.assert_array_equal(target(*call), model(*call))
    tower_of(target).fill(nets.crosses())
    np.testing.assert_array_equal(target(*call), model(*call))
    assert set(nid.cross_embeddings(target)) == set(nets.crosses().names)
    with pytest.raises(UnsupportedError, match="room for crosses already"):
        reserved(target)


def test_the_crosses_are_found_filled_and_learned(whole):
    model, chosen, seen = whole
    assert chosen.core.status == "injected"
    assert chosen.core.epoch == 1
    assert ("a", "b") in {cross.fields for cross in chosen.core.crosses.crosses}
    assert set(nid.cross_embeddings(model)) == set(chosen.core.crosses.names)
    assert np.abs(nid.cross_embeddings(model)["a__x__b"]).max() > 0.01
    assert seen["loss"][3] < 0.85 * seen["loss"][1]


def test_filling_traces_nothing_and_touches_no_other_state(whole):
    seen = whole[2]
    assert seen["traces"][0] > 0
    assert seen["traces"][1:] == [0] * (EPOCHS - 1)
    assert_same(seen["states"][0], seen["after"][0])
    pairs = list(zip(seen["states"][1], seen["after"][1], strict=True))
    changed = [after for before, after in pairs if not np.array_equal(before, after)]
    assert 5 <= len(changed) <= 7, "the tables of the crosses"
    assert all(np.issubdtype(own.dtype, np.integer) for own in changed), "and nothing else"


def test_without_an_injector_the_start_and_the_schedule_are_the_same(K, whole):
    _, _, seen = whole
    rates = []
    watch = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(
            float(
                rate(model.optimizer.iterations) if callable(rate := model.optimizer.learning_rate) else rate
            )
        )
    )
    model = ready(K)
    loss = fit(model, [watch])
    assert rates == seen["rates"]
    assert rates[0] > rates[-1] > 0
    assert loss[:2] == seen["loss"][:2]
    assert loss[3] > seen["loss"][3]


def test_a_scheduler_is_not_disturbed_and_a_step_compiled_by_xla_takes_the_crosses(K, L):
    model, asked = ready(K), []
    model.compile(K.optimizers.SGD(0.1, momentum=0.9), "binary_crossentropy", jit_compile=True)

    def schedule(epoch, rate):
        asked.append((epoch, round(float(rate), 6)))
        return rate * 0.5

    loss = fit(model, [injector(L, seed=1), K.callbacks.LearningRateScheduler(schedule)])
    assert asked == [(0, 0.1), (1, 0.05), (2, 0.025), (3, 0.0125)]
    assert len(loss) == EPOCHS
    assert all(own.any() for own in nid.cross_embeddings(model).values())


@pytest.mark.parametrize("stop", [1, 3])
def test_a_file_saved_in_the_middle_goes_on_bit_for_bit(K, L, whole, tmp_path, stop):
    path = str(tmp_path / "{epoch:d}.keras")
    fit(ready(K), [injector(L), K.callbacks.ModelCheckpoint(path)], epochs=stop)
    again = K.models.load_model(path.format(epoch=stop))
    fresh = injector(L)
    loss = fit(again, [fresh], initial_epoch=stop)
    assert loss == whole[2]["loss"][stop:]
    assert_same(state_of(again), state_of(whole[0]))
    assert fresh.core.status == "injected"
    assert fresh.core.crosses.names == whole[1].core.crosses.names


def test_a_backup_of_an_interrupted_training_goes_on_bit_for_bit(K, L, whole, tmp_path):
    class Interrupted(K.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def backup():
        return K.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    with pytest.raises(KeyboardInterrupt):
        fit(ready(K), [injector(L), backup(), Interrupted()])
    again, fresh = ready(K), injector(L)
    loss = fit(again, [fresh, backup()])
    assert loss == whole[2]["loss"][3:]
    assert_same(state_of(again), state_of(whole[0]))
    assert fresh.core.status == "injected"


def test_weights_alone_bring_the_crosses(K, whole, tmp_path):
    path = str(tmp_path / "own.weights.h5")
    whole[0].save_weights(path)
    again = ready(K)
    again.load_weights(path)
    assert tower_of(again).crosses().names == whole[1].core.crosses.names
    call = nets.call_of("mapping", VALID)
    np.testing.assert_array_equal(again(*call), whole[0](*call))


def test_a_model_without_room_is_told_before_it_is_trained(K, L):
    model = base(K)
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(ModelError, match="no room for crosses"):
        fit(model, [injector(L)])


def test_nothing_that_fits_is_said_and_training_goes_on(K, L):
    model = reserved(base(K), order=2, bins=2, size=1, crosses=1)
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    own = injector(L, screen={"l2": 1e6})
    own.core.after = 1
    with pytest.warns(NidWarning, match="no crosses were injected"):
        loss = fit(model, [own], epochs=2, batch_size=600)
    assert len(loss) == 2
    assert own.core.status == "nothing"
    assert tower_of(model).free == 1


@pytest.mark.parametrize("option", [{"rate": 0.5}, {"frozen": True}, {"l2": 0.1}, {"tower": {"dim": 3}}])
def test_options_that_belong_to_the_room(L, option):
    with pytest.raises(SettingError, match=next(iter(option))):
        injector(L, **option)


def test_options_of_the_room(K):
    with pytest.raises(SettingError, match=r"unknown option of reserve.*embeddings"):
        reserved(nets.sequential(K), embeddings={})
    with pytest.raises(SettingError, match="order out of range"):
        reserved(nets.sequential(K), order=1)


def monitored_epochs(K, values):
    """A callback that gives each epoch's end a number of one's own to be judged by."""

    class Judge(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["own"] = values[epoch]

    return Judge()


def test_early_stopping_may_go_back_to_weights_from_before_the_crosses(K, L):
    model, own = ready(K), injector(L)
    call, before = nets.call_of("mapping", VALID), []
    first = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch or before.append(np.asarray(model(*call)))
    )
    stopping = K.callbacks.EarlyStopping("own", patience=2, mode="min", restore_best_weights=True)
    loss = fit(model, [first, monitored_epochs(K, range(EPOCHS)), own, stopping])
    assert len(loss) == 3
    assert own.core.status == "injected"
    np.testing.assert_array_equal(np.asarray(model(*call)), before[0])
    assert tower_of(model).crosses() is None
    # Nothing of what was tried is left, and the next training may look again.
    again = injector(L, seed=1)
    again.core.after = 1
    fit(model, [again], epochs=2)
    assert again.core.status == "injected"
    assert tower_of(model).crosses().names == again.core.crosses.names


def test_early_stopping_and_checkpoints_keep_the_best_weights_with_crosses(K, L, tmp_path):
    model, own = ready(K), injector(L)
    call, outputs, path = nets.call_of("mapping", VALID), [], str(tmp_path / "best.keras")
    kept = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: outputs.append(np.asarray(model(*call)))
    )
    values = [0.9, 0.8, 0.7, 0.1, 0.5, 0.6]
    stopping = K.callbacks.EarlyStopping("own", patience=2, mode="min", restore_best_weights=True)
    saving = K.callbacks.ModelCheckpoint(path, "own", save_best_only=True, mode="min")
    loss = fit(model, [monitored_epochs(K, values), own, saving, kept, stopping], epochs=6)
    assert len(loss) == 6
    np.testing.assert_array_equal(np.asarray(model(*call)), outputs[3])
    assert not np.array_equal(outputs[3], outputs[5])
    again = K.models.load_model(path)
    np.testing.assert_array_equal(np.asarray(again(*call)), outputs[3])
    assert tower_of(again).crosses().names == own.core.crosses.names == tower_of(model).crosses().names
