"""Residual injection into every DeepCTR-Torch model that takes ordinary columns."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from deepctr_torch import models as zoo
from deepctr_torch.callbacks import EarlyStopping, ModelCheckpoint
from deepctr_torch.inputs import DenseFeat, SparseFeat
from nid_deepctr_torch.layers import Residual
from nid_deepctr_torch.plugin import DeepCTRTorchAdapter

from nid_plugins.blackbox import BlackBox
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import NidWarning, SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRTorchAdapter()
SPARSE_ONLY = {"AFM", "CCPM"}


def columns(name="", dim=4):
    sparse = [SparseFeat("site", 6, dim), SparseFeat("item", 12, dim), SparseFeat("hour", 4, dim)]
    return sparse if name in SPARSE_ONLY else [sparse[0], DenseFeat("price"), *sparse[1:]]


BUILDERS = {
    "DeepFM": lambda a, b, **o: zoo.DeepFM(a, b, dnn_hidden_units=(8,), **o),
    "WDL": lambda a, b, **o: zoo.WDL(a, b, dnn_hidden_units=(8,), **o),
    "DCN": lambda a, b, **o: zoo.DCN(a, b, dnn_hidden_units=(8,), **o),
    "DCNMix": lambda a, b, **o: zoo.DCNMix(a, b, dnn_hidden_units=(8,), low_rank=2, num_experts=2, **o),
    "xDeepFM": lambda a, b, **o: zoo.xDeepFM(a, b, dnn_hidden_units=(8,), cin_layer_size=(4,), **o),
    "AutoInt": lambda a, b, **o: zoo.AutoInt(a, b, dnn_hidden_units=(8,), att_layer_num=1, **o),
    "FiBiNET": lambda a, b, **o: zoo.FiBiNET(a, b, dnn_hidden_units=(8,), **o),
    "NFM": lambda a, b, **o: zoo.NFM(a, b, dnn_hidden_units=(8,), **o),
    "PNN": lambda a, b, **o: zoo.PNN(b, dnn_hidden_units=(8,), **o),
    "AFM": lambda a, b, **o: zoo.AFM(a, b, attention_factor=3, **o),
    "ONN": lambda a, b, **o: zoo.ONN(a, b, dnn_hidden_units=(8,), **o),
    "MLR": lambda a, b, **o: zoo.MLR(a, region_num=2, **o),
    "CCPM": lambda a, b, **o: zoo.CCPM(
        a, b, conv_kernel_width=(2,), conv_filters=(2,), dnn_hidden_units=(8,), **o
    ),
    "DIFM": lambda a, b, **o: zoo.DIFM(a, b, dnn_hidden_units=(8,), att_head_num=2, **o),
    "IFM": lambda a, b, **o: zoo.IFM(a, b, dnn_hidden_units=(8,), **o),
    "AFN": lambda a, b, **o: zoo.AFN(a, b, ltl_hidden_size=4, afn_dnn_hidden_units=(8,), **o),
}


def make(name="DeepFM", **options):
    return BUILDERS[name](columns(name), columns(name), **options)


def crosses_for(name, log):
    if name not in SPARSE_ONLY:
        return log.crosses
    schema = FeatureSchema(log.schema.sparse)
    return fit_crosses([("site", "item"), ("site", "item", "hour")], log.frame, schema)


def inputs_of(name, log):
    return {c.name: log.frame[c.name] for c in columns(name)}


def fit(model, x, log, epochs=2, **options):
    return model.fit(dict(x), log.label, batch_size=128, epochs=epochs, verbose=0, **options)


def matrix(x, n=None):
    return torch.from_numpy(np.column_stack(list(x.values())).astype(np.float32)[:n])


@pytest.mark.parametrize("name", BUILDERS)
def test_every_model_starts_exact_and_is_moved_by_training(name, log, unchanged):
    model = make(name)
    model.compile("adam", "binary_crossentropy")
    x = inputs_of(name, log)
    fit(model, x, log, epochs=1)
    crosses = crosses_for(name, log)
    with unchanged(model):
        target = ADAPTER.inject(model, crosses, mode="residual")
    assert isinstance(target, type(model))
    assert type(target).__name__ == f"Crossed{name}"
    np.testing.assert_array_equal(target.predict(dict(x)), model.predict(dict(x)))
    x_list = [x[c.name] for c in columns(name)]
    np.testing.assert_array_equal(target.predict(list(x_list)), model.predict(list(x_list)))

    before = {k: v.clone() for k, v in model.state_dict().items()}
    predicted = model.predict(dict(x))
    fit(target, x, log)
    assert (target.predict(dict(x)) != predicted).mean() > 0.99
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    learned = ADAPTER.cross_embeddings(target)
    assert learned.keys() == set(crosses.names)
    for values, size in zip(learned.values(), crosses.vocabulary_sizes, strict=True):
        assert values.shape == (size + 1, 8)
        assert (values[0] == 0).all()
        assert (values[1:] != 0).any(axis=1).all()

    # The ids in the graph are those of the frame.
    ids = target.cross_tower.ids(matrix(x))
    np.testing.assert_array_equal(ids.numpy(), crosses.transform(log.frame))


@pytest.mark.filterwarnings(
    "ignore:The tensor attribute self:UserWarning"
)  # attention scores the model remembers
@pytest.mark.parametrize("name", BUILDERS)
def test_export_with_a_dynamic_batch(name, log):
    target = ADAPTER.inject(make(name), crosses_for(name, log), mode="residual")
    target.compile("adam", "binary_crossentropy")
    x = inputs_of(name, log)
    fit(target, x, log, epochs=1)
    target.eval()
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(target, (matrix(x, 60),), dynamic_shapes={"X": {0: rows}}).module()
    for n in (60, 11):
        torch.testing.assert_close(program(matrix(x, n)), target(matrix(x, n)), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["DeepFM", "MLR", "IFM"])
def test_regression_models_get_a_plain_sum(name, log):
    model = make(name, task="regression")
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    assert target.nid_output == "logit"
    x = matrix(inputs_of(name, log))
    with torch.no_grad():
        assert torch.equal(target.eval()(x), model.eval()(x))
        target.cross_tower.embedding.weight[1:] = 0.1
        torch.testing.assert_close(target(x), model(x) + target.cross_tower(x))


@pytest.mark.parametrize("optimiser", ["adam", "adagrad", "sgd", "rmsprop"])
def test_the_copy_of_a_compiled_model_keeps_its_optimisers_state(optimiser, log):
    model = make()
    model.compile(optimiser, "binary_crossentropy", metrics=["auc"])
    x = inputs_of("", log)
    fit(model, x, log)
    for group in model.optim.param_groups:
        group["lr"] = 0.005
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    assert target.optim is not model.optim
    assert len(target.optim.param_groups) == len(model.optim.param_groups) + 1
    assert [g["lr"] for g in target.optim.param_groups] == [0.005, 0.005]
    mine = {id(p) for group in target.optim.param_groups for p in group["params"]}
    assert mine == {id(p) for p in target.parameters()}
    for (name, old), new in zip(
        model.named_parameters(), dict(target.named_parameters()).values(), strict=False
    ):
        state = model.optim.state.get(old, {})
        assert state.keys() == target.optim.state.get(new, {}).keys(), name
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(target.optim.state[new][key]))
    fit(target, x, log)
    assert target.cross_tower.embedding.weight[1:].ne(0).any()
    assert target.evaluate(dict(x), log.label)["auc"] > 0.5


@pytest.mark.parametrize("optimiser", ["AdamW", "NAdam", "Adamax", "Adadelta", "RAdam"])
def test_optimisers_given_as_objects(optimiser, log):
    model = make()
    model.compile(getattr(torch.optim, optimiser)(model.parameters(), lr=0.01), "binary_crossentropy")
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    fit(target, inputs_of("", log), log)
    assert target.cross_tower.embedding.weight[1:].ne(0).any()


def test_an_optimiser_of_one_group_must_be_compiled_again(log):
    model = make()
    model.compile(torch.optim.LBFGS(model.parameters()), "binary_crossentropy")
    with pytest.warns(NidWarning, match=r"LBFGS.*compile\(\) again"):
        target = ADAPTER.inject(model, log.crosses, mode="residual")
    assert model.optim is not None
    target.compile("adam", "binary_crossentropy")
    fit(target, inputs_of("", log), log, epochs=1)


def test_a_model_that_was_never_compiled(log):
    target = ADAPTER.inject(make(), log.crosses, mode="residual")
    target.compile("adagrad", "binary_crossentropy")
    fit(target, inputs_of("", log), log)
    assert target.cross_tower.embedding.weight[1:].ne(0).any()


def test_a_frozen_base_stays_as_it_is_and_in_eval_mode(log):
    model = make(dnn_use_bn=True, dnn_dropout=0.3)
    model.compile("adam", "binary_crossentropy")
    x = inputs_of("", log)
    fit(model, x, log)
    target = ADAPTER.inject(model, log.crosses, mode="residual", frozen=True)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    history = fit(target, x, log, epochs=4).history["loss"]
    assert history[-1] < history[0]
    for key, value in target.state_dict().items():
        same = torch.equal(value, before[key])
        assert same or key.startswith("cross_tower."), key
    target.train()
    assert target.cross_tower.training
    assert not target.dnn.bn[0].training
    assert all(p.requires_grad for p in model.parameters())


def test_l2_is_part_of_the_loss_of_fit(log):
    target = ADAPTER.inject(make(), log.crosses, mode="residual", l2=0.5)
    plain = make().get_regularization_loss().item()
    with torch.no_grad():
        target.cross_tower.embedding.weight[1:] = 1.0
    extra = 0.5 * sum(log.crosses.vocabulary_sizes) * 8
    assert target.get_regularization_loss().item() == pytest.approx(plain + extra, rel=1e-5)
    assert (
        ADAPTER.inject(make(), log.crosses, mode="residual", l2=0.0).get_regularization_loss().item() == plain
    )


def test_validation_callbacks_and_evaluate_keep_working(log, tmp_path):
    model = make()
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    target.compile("adam", "binary_crossentropy", metrics=["binary_crossentropy", "auc"])
    x = inputs_of("", log)
    path = tmp_path / "best.pt"
    callbacks = [
        EarlyStopping("val_auc", patience=0),
        ModelCheckpoint(str(path), "val_auc", save_best_only=True),
    ]
    history = fit(target, x, log, epochs=3, validation_split=0.2, callbacks=callbacks).history
    assert {"loss", "val_auc"} <= history.keys()
    best = torch.load(path, weights_only=False)
    assert type(best) is type(target)
    assert best.predict(dict(x)).shape == (len(log.label), 1)
    assert 0 < target.evaluate(dict(x), log.label)["auc"] <= 1


def test_saving_copying_and_pickling(log):
    model = make()
    model.compile("adam", "binary_crossentropy", metrics=["auc"])
    x = inputs_of("", log)
    target = ADAPTER.inject(model, log.crosses, mode="residual", hidden=(4,))
    fit(target, x, log)
    expected = target.predict(dict(x))
    file = io.BytesIO()
    torch.save(target.state_dict(), file)
    file.seek(0)
    fresh = ADAPTER.inject(make(), log.crosses, mode="residual", hidden=(4,), seed=3)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    np.testing.assert_array_equal(fresh.predict(dict(x)), expected)
    for twin in (copy.deepcopy(target), pickle.loads(pickle.dumps(target))):
        assert type(twin) is type(target)
        np.testing.assert_array_equal(twin.predict(dict(x)), expected)
        fit(twin, x, log, epochs=1)
        assert (twin.predict(dict(x)) != expected).any()
        np.testing.assert_array_equal(target.predict(dict(x)), expected)


def test_the_target_is_a_black_box_like_any_other(log):
    target = ADAPTER.inject(make(), log.crosses, mode="residual")
    schema = ADAPTER.schema(target)
    assert schema == log.schema
    box = BlackBox(ADAPTER.predictor(target, schema), schema, adapter="x", batch_size=256, epsilon=1e-7)
    assert box.output == "probability"
    assert box.logits(log.frame).shape == log.label.shape
    with pytest.raises(UnsupportedError, match="injected crosses"):
        box.logits_zeroed(log.rows[0], np.ones((2, 4), bool))


def test_what_cannot_be_injected_is_refused(log):
    with pytest.raises(UnsupportedError, match="already"):
        ADAPTER.inject(ADAPTER.inject(make(), log.crosses, mode="residual"), log.crosses, mode="residual")
    with pytest.raises(SettingError, match="size"):
        ADAPTER.inject(make(), log.crosses, mode="residual", size=3)
    for switch in ("frozen", "train_embeddings", "train_projection"):
        with pytest.raises(SettingError, match=f"{switch} is a switch; received: 'x'"):
            ADAPTER.inject(make(), log.crosses, mode="residual", **{switch: "x"})
    for output in ("score", ["score"]):
        with pytest.raises(SettingError, match="unknown output.*'score'"):
            ADAPTER.inject(make(), log.crosses, mode="residual", output=output)
    with pytest.raises(SettingError, match="cannot tell.*multiclass"):
        ADAPTER.inject(make(task="multiclass"), log.crosses, mode="residual")
    with pytest.raises(UnsupportedError, match="no injected crosses"):
        ADAPTER.cross_embeddings(make())
    fewer = [c for c in columns() if c.name != "hour"]
    with pytest.raises(SchemaError, match="'hour'.*not a column"):
        ADAPTER.inject(zoo.DeepFM(fewer, fewer, dnn_hidden_units=(4,)), log.crosses, mode="residual")
    schema = FeatureSchema(
        [SparseField("site", 6), SparseField("price", 9), SparseField("item", 12), SparseField("hour", 4)]
    )
    frame = {**log.frame, "price": np.minimum(log.frame["price"].astype(np.int64), 8)}
    crosses = fit_crosses([("site", "price")], frame, schema)
    with pytest.raises(SchemaError, match="'price'.*another kind"):
        ADAPTER.inject(make(), crosses, mode="residual")


def test_fields_are_matched_by_name(log):
    linear = [SparseFeat("hour", 4, 4), SparseFeat("item", 12, 4)]
    model = zoo.DeepFM(linear, columns(), dnn_hidden_units=(4,))
    assert tuple(model.feature_index) == ("hour", "item", "site", "price")
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    x = torch.from_numpy(np.column_stack([log.frame[n] for n in model.feature_index]).astype(np.float32))
    np.testing.assert_array_equal(target.cross_tower.ids(x).numpy(), log.crosses.transform(log.frame))
    wider = FeatureSchema([DenseField("unused"), *log.schema.fields])
    crosses = fit_crosses([("site", "item")], {**log.frame, "unused": np.zeros(len(log.label))}, wider)
    assert isinstance(ADAPTER.inject(model, crosses, mode="residual"), Residual)


def test_a_float64_model(log):
    model = make().double()
    target = ADAPTER.inject(model, log.crosses, mode="residual")
    x = matrix(inputs_of("", log)).double()
    assert target(x).dtype == torch.float64
    assert torch.equal(target.eval()(x), model.eval()(x))
