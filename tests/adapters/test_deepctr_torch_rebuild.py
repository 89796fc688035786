"""The paper's way: crosses as further columns of a fresh model, which takes the inputs without them."""

from __future__ import annotations

import copy
import io
import pickle
import random

import numpy as np
import pytest
import torch
from deepctr_torch import models as zoo
from deepctr_torch.callbacks import ModelCheckpoint
from deepctr_torch.inputs import DenseFeat, SparseFeat
from nid_deepctr_torch.plugin import DeepCTRTorchAdapter
from nid_torch.inject import inject
from torch import nn

import nid_plugins as nid
import nid_plugins.adapting.precision
from nid_plugins.blackbox import BlackBox
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import ModelError, SchemaError, SettingError
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRTorchAdapter()
SPARSE_ONLY = {"AFM", "CCPM"}
SITE_ITEM = 55  # combinations of the first cross


def columns(name="", dim=4):
    sparse = [SparseFeat("site", 6, dim), SparseFeat("item", 12, dim), SparseFeat("hour", 4, dim)]
    return sparse if name in SPARSE_ONLY else [sparse[0], DenseFeat("price"), *sparse[1:]]


BUILDERS = {
    "DeepFM": lambda a, b: zoo.DeepFM(a, b, dnn_hidden_units=(8,)),
    "WDL": lambda a, b: zoo.WDL(a, b, dnn_hidden_units=(8,)),
    "DCN": lambda a, b: zoo.DCN(a, b, dnn_hidden_units=(8,)),
    "DCNMix": lambda a, b: zoo.DCNMix(a, b, dnn_hidden_units=(8,), low_rank=2, num_experts=2),
    "xDeepFM": lambda a, b: zoo.xDeepFM(a, b, dnn_hidden_units=(8,), cin_layer_size=(4,)),
    "AutoInt": lambda a, b: zoo.AutoInt(a, b, dnn_hidden_units=(8,), att_layer_num=1),
    "FiBiNET": lambda a, b: zoo.FiBiNET(a, b, dnn_hidden_units=(8,)),
    "NFM": lambda a, b: zoo.NFM(a, b, dnn_hidden_units=(8,)),
    "PNN": lambda a, b: zoo.PNN(b, dnn_hidden_units=(8,)),
    "AFM": lambda a, b: zoo.AFM(a, b, attention_factor=3),
    "ONN": lambda a, b: zoo.ONN(a, b, dnn_hidden_units=(8,)),
    "MLR": lambda a, b: zoo.MLR(a, region_num=2),
    "CCPM": lambda a, b: zoo.CCPM(a, b, conv_kernel_width=(2,), conv_filters=(2,), dnn_hidden_units=(8,)),
    "DIFM": lambda a, b: zoo.DIFM(a, b, dnn_hidden_units=(8,), att_head_num=2),
    "IFM": lambda a, b: zoo.IFM(a, b, dnn_hidden_units=(8,)),
    "AFN": lambda a, b: zoo.AFN(a, b, ltl_hidden_size=4, afn_dnn_hidden_units=(8,)),
}


def crosses_for(name, log):
    if name not in SPARSE_ONLY:
        return log.crosses
    return fit_crosses(
        [("site", "item"), ("site", "item", "hour")], log.frame, FeatureSchema(log.schema.sparse)
    )


def rebuilt(name, log, **options):
    return ADAPTER.inject(
        BUILDERS[name], crosses_for(name, log), mode="rebuild", columns=columns(name), **options
    )


def inputs_of(name, log):
    return {c.name: log.frame[c.name] for c in columns(name)}


def fit(model, x, log, epochs=2, **options):
    model.compile("adam", "binary_crossentropy", metrics=["auc"])
    return model.fit(dict(x), log.label, batch_size=128, epochs=epochs, verbose=0, **options)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_model_takes_the_original_inputs_and_trains_the_crosses(name, log):
    target = rebuilt(name, log)
    crosses = crosses_for(name, log)
    assert isinstance(target, getattr(zoo, name))
    x = inputs_of(name, log)
    matrix = torch.from_numpy(np.column_stack(list(x.values())).astype(np.float32))

    # The same as the plain model fed with NumPy's cross ids.
    added = [
        SparseFeat(n, size + 1, 4) for n, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    ]
    plain = BUILDERS[name]([*columns(name), *added], [*columns(name), *added])
    plain.load_state_dict({k: v for k, v in target.state_dict().items() if not k.startswith("cross_ids.")})
    ids = dict(zip(crosses.names, crosses.transform(log.frame).T, strict=True))
    np.testing.assert_array_equal(target.predict(dict(x)), plain.predict({**x, **ids}))
    with torch.no_grad():
        np.testing.assert_array_equal(target(matrix).double().numpy(), target.predict(list(x.values())))

    before = target.predict(dict(x))
    fit(target, x, log)
    assert (target.predict(dict(x)) != before).mean() > 0.99
    tables = [v for k, v in target.named_parameters() if "__x__" in k]
    old = dict(plain.named_parameters())
    assert tables
    assert any(not torch.equal(v, old[k]) for k, v in target.named_parameters() if "__x__" in k)


@pytest.mark.filterwarnings(
    "ignore:The tensor attribute self:UserWarning"
)  # attention scores the model remembers
@pytest.mark.parametrize("name", ["DeepFM", "AutoInt", "ONN", "CCPM"])
def test_export_with_a_dynamic_batch(name, log):
    target = rebuilt(name, log)
    x = inputs_of(name, log)
    fit(target, x, log, epochs=1)
    target.eval()
    matrix = torch.from_numpy(np.column_stack(list(x.values())).astype(np.float32))
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(target, (matrix[:60],), dynamic_shapes={"X": {0: rows}}).module()
    for n in (60, 11):
        torch.testing.assert_close(program(matrix[:n]), target(matrix[:n]), rtol=0, atol=0)


def test_fit_predict_and_evaluate_in_every_form(log, tmp_path):
    x = inputs_of("", log)
    values = list(x.values())
    target = rebuilt("DeepFM", log)
    path = tmp_path / "best.pt"
    saver = ModelCheckpoint(str(path), "val_auc", save_best_only=True, mode="max")
    history = fit(target, x, log, validation_data=(dict(x), log.label), callbacks=[saver]).history
    assert history.keys() >= {"loss", "val_auc"}
    fit(target, x, log, validation_split=0.25)
    target.fit(list(values), log.label, 128, 1, 0, validation_data=(list(values), log.label))
    extra = {**x, "unused": log.label}
    np.testing.assert_array_equal(target.predict(extra), target.predict(list(values), 64))
    assert target.evaluate(dict(x), log.label)["auc"] == target.evaluate(list(values), log.label)["auc"]
    best = torch.load(path, weights_only=False)
    assert type(best) is type(target)
    assert best.predict(dict(x)).shape == (len(log.label), 1)


def test_crosses_help_a_linear_model_on_planted_interactions(log):
    x = inputs_of("", log)
    linear = zoo.WDL(columns(), [], dnn_hidden_units=())
    fit(linear, x, log, epochs=15)
    build = lambda a, b: zoo.WDL(a, b, dnn_hidden_units=())  # noqa: E731
    target = ADAPTER.inject(build, log.crosses, mode="rebuild", columns=(columns(), []), embedding_dim=2)
    fit(target, x, log, epochs=15)
    assert target.evaluate(dict(x), log.label)["auc"] > linear.evaluate(dict(x), log.label)["auc"] + 0.05


def test_the_order_of_the_models_input_is_that_without_the_crosses(log):
    linear = [SparseFeat("hour", 4, 4), SparseFeat("item", 12, 4)]
    target = ADAPTER.inject(BUILDERS["DeepFM"], log.crosses, mode="rebuild", columns=(linear, columns()))
    plain = BUILDERS["DeepFM"](linear, columns())
    # The crosses stand in the middle of what the model takes inside.
    assert list(target.feature_index)[2:5] == list(log.crosses.names)
    assert ADAPTER.schema(target).names == tuple(plain.feature_index) == ("hour", "item", "site", "price")
    values = [log.frame[n] for n in plain.feature_index]
    np.testing.assert_array_equal(target.predict(values), target.predict(dict(log.frame)))
    ids = target.cross_ids(torch.from_numpy(np.column_stack(values).astype(np.float32)))
    np.testing.assert_array_equal(ids.numpy(), log.crosses.transform(log.frame))


def test_random_state_is_what_it_was_whatever_the_builder_does(log):
    def builder(linear, deep):
        random.seed(3)
        np.random.seed(3)
        return BUILDERS["DeepFM"](linear, deep)  # seeds torch

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    ADAPTER.inject(builder, log.crosses, mode="rebuild", columns=columns())
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])


def test_length_of_the_embeddings(log):
    assert ADAPTER.cross_embeddings(rebuilt("DeepFM", log))["site__x__item"].shape[1] == 4
    mixed = [
        SparseFeat("site", 6, 3),
        SparseFeat("item", 12, 5),
        SparseFeat("hour", 4, 5),
        DenseFeat("price"),
    ]
    wdl = BUILDERS["WDL"]
    target = ADAPTER.inject(wdl, log.crosses, mode="rebuild", columns=mixed)
    assert ADAPTER.cross_embeddings(target)["site__x__item"].shape[1] == 5
    target = ADAPTER.inject(wdl, log.crosses, mode="rebuild", columns=mixed, embedding_dim=7)
    assert ADAPTER.cross_embeddings(target)["site__x__item"].shape[1] == 7
    with pytest.raises(SettingError, match="embedding_dim"):
        ADAPTER.inject(wdl, log.crosses, mode="rebuild", columns=mixed, embedding_dim=0)
    with pytest.raises(SettingError, match="no deep sparse column"):
        ADAPTER.inject(wdl, log.crosses, mode="rebuild", columns=(columns(), [DenseFeat("price")]))


def test_saving_copying_and_pickling(log):
    x = inputs_of("", log)
    target = rebuilt("DeepFM", log)
    fit(target, x, log)
    expected = target.predict(dict(x))
    file = io.BytesIO()
    torch.save(target.state_dict(), file)
    file.seek(0)
    fresh = rebuilt("DeepFM", log)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    np.testing.assert_array_equal(fresh.predict(dict(x)), expected)
    for twin in (copy.deepcopy(target), pickle.loads(pickle.dumps(target))):
        assert type(twin) is type(target)
        np.testing.assert_array_equal(twin.predict(dict(x)), expected)


def test_the_target_is_a_black_box_of_the_original_fields(log):
    target = rebuilt("DeepFM", log)
    schema = ADAPTER.schema(target)
    assert schema == log.schema
    box = BlackBox(ADAPTER.predictor(target, schema), schema, adapter="x", batch_size=256, epsilon=1e-7)
    assert box.logits(log.frame).shape == log.label.shape


def test_a_residual_tower_on_top_of_a_rebuilt_model(log):
    x = inputs_of("", log)
    first = ADAPTER.inject(BUILDERS["DeepFM"], log.crosses.select([0]), mode="rebuild", columns=columns())
    fit(first, x, log)
    both = ADAPTER.inject(first, log.crosses.select([1]), mode="residual")
    np.testing.assert_array_equal(both.predict(dict(x)), first.predict(dict(x)))
    assert ADAPTER.cross_embeddings(both).keys() == set(log.crosses.names[:2])
    twin = pickle.loads(pickle.dumps(both))
    assert type(twin) is type(both)
    np.testing.assert_array_equal(twin.predict(dict(x)), first.predict(dict(x)))


def test_names_with_dots(log):
    # PyTorch forbids them in a module's name; DenseFeat's name is none, the cross's would be.
    frame = {"site": log.frame["site"], "price.usd": log.frame["price"]}
    crosses = fit_crosses(
        [("site", "price.usd")], frame, FeatureSchema([SparseField("site", 6), DenseField("price.usd")])
    )
    own = [SparseFeat("site", 6, 4), DenseFeat("price.usd")]
    target = ADAPTER.inject(BUILDERS["WDL"], crosses, mode="rebuild", columns=own)
    assert ADAPTER.cross_embeddings(target).keys() == {"site__x__price.usd"}
    assert target.predict(frame).shape == (len(log.label), 1)


def test_crosses_in_the_wide_part_only(log):
    target = ADAPTER.inject(
        lambda a, b: zoo.WDL(a, columns(), dnn_hidden_units=(8,)),
        log.crosses,
        mode="rebuild",
        columns=columns(),
    )
    found = ADAPTER.cross_embeddings(target)
    assert [values.shape for values in found.values()] == [
        (size + 1, 1) for size in log.crosses.vocabulary_sizes
    ]


@pytest.mark.parametrize(
    ("builder", "options", "error", "message"),
    [
        (lambda a, b: nn.Linear(3, 1), {}, ModelError, "fresh DeepCTR-Torch model.*Linear"),
        (lambda a, b: zoo.DeepFM(columns(), columns()), {}, ModelError, "leaves crosses out"),
        (lambda a, b: 1 / 0, {}, ModelError, "the builder raised ZeroDivisionError"),
        (lambda: None, {}, ModelError, "the builder raised TypeError.*linear columns, deep columns"),
        (BUILDERS["DeepFM"], {"frozen": True}, SettingError, "unknown option.*'frozen'.*embedding_dim"),
        (
            lambda a, b: zoo.WDL(a, columns()),
            {"embeddings": {"site__x__item": np.zeros((SITE_ITEM + 1, 4))}},
            SettingError,
            "linear part only",
        ),
        (BUILDERS["DeepFM"], {"columns": []}, SettingError, "neither"),
        (BUILDERS["DeepFM"], {"columns": ["site"]}, SettingError, "neither"),
        (BUILDERS["DeepFM"], {"columns": columns()[:3]}, SchemaError, "'hour'.*not a column"),
        (
            BUILDERS["DeepFM"],
            {"columns": [*columns(), SparseFeat("site__x__item", 3)]},
            SettingError,
            "name of a column",
        ),
        (BUILDERS["DeepFM"], {"embeddings": {"site__x__item": np.zeros((2, 4))}}, SettingError, "do not fit"),
        (BUILDERS["DeepFM"], {"embeddings": {"x": np.zeros((2, 4))}}, SettingError, "unknown cross"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(builder, options, error, message, log):
    with pytest.raises(error, match=message):
        ADAPTER.inject(builder, log.crosses, mode="rebuild", **{"columns": columns(), **options})


def test_more_ids_than_float32_tells_apart_are_refused(log, monkeypatch):
    assert nid_plugins.adapting.precision.FLOAT32_IDS == 2**24
    largest = max(log.crosses.vocabulary_sizes)
    monkeypatch.setattr(
        nid_plugins.adapting.precision, "FLOAT32_IDS", largest
    )  # a real one would take gigabytes
    with pytest.raises(SettingError, match=f"received: {largest + 1}.*min_count"):
        rebuilt("DeepFM", log)
    monkeypatch.setattr(nid_plugins.adapting.precision, "FLOAT32_IDS", largest + 1)
    assert rebuilt("DeepFM", log)


def test_embeddings_travel_between_models_and_frameworks(log):
    x = inputs_of("", log)
    source = rebuilt("DeepFM", log)
    fit(source, x, log)
    learned = ADAPTER.cross_embeddings(source)

    # Into another DeepCTR-Torch model, row 0 included.
    other = rebuilt("xDeepFM", log, embeddings=learned)
    for name, values in ADAPTER.cross_embeddings(other).items():
        np.testing.assert_array_equal(values, learned[name])

    # Into a plain PyTorch MLP, where row 0 is zero by construction, and back from there.
    mlp = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    torch_target = inject(mlp, log.crosses, dim=4, embeddings=learned)
    from nid_torch.plugin import TorchAdapter

    carried = TorchAdapter().cross_embeddings(torch_target)
    for name, values in carried.items():
        np.testing.assert_array_equal(values[1:], learned[name][1:])
        assert (values[0] == 0).all()
    back = ADAPTER.inject(
        BUILDERS["DeepFM"](columns(), columns()), log.crosses, mode="residual", dim=4, embeddings=carried
    )
    for name, values in ADAPTER.cross_embeddings(back).items():
        np.testing.assert_array_equal(values, carried[name])
    fit(back, x, log)
    assert back.evaluate(dict(x), log.label)["auc"] > 0.6

    # The dict is a copy.
    learned["site__x__item"][:] = 0
    assert ADAPTER.cross_embeddings(source)["site__x__item"].any()


def test_through_the_public_functions(log):
    import nid_deepctr_torch.plugin
    import nid_torch.plugin

    manager = PluginManager(entry_points=False)
    manager.register(nid_torch.plugin, "torch")
    manager.register(nid_deepctr_torch.plugin, "deepctr_torch")
    with use_manager(manager):
        model = BUILDERS["DeepFM"](columns(), columns())
        assert nid.FeatureSchema.of(model) == log.schema
        residual = nid.inject(model, log.crosses)
        fresh = nid.inject(BUILDERS["WDL"], log.crosses, mode="rebuild", columns=(columns(), columns()))
        assert (
            nid.cross_embeddings(residual).keys()
            == nid.cross_embeddings(fresh).keys()
            == set(log.crosses.names)
        )
        np.testing.assert_array_equal(nid.wrap(residual).logits(log.frame), nid.wrap(model).logits(log.frame))


class Double(zoo.WDL):
    def forward(self, x):
        return super().forward(x).repeat(1, 2)


def test_a_fresh_model_of_two_scores_a_row_is_refused(log):
    with pytest.raises(ModelError, match="one score a row"):
        ADAPTER.inject(Double, log.crosses, mode="rebuild", columns=columns())
