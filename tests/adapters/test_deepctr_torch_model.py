"""DeepCTR-Torch models as black boxes: schema from columns, no trace left, embeddings zeroed field by field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DIN, ESMM, MLR, ONN, PNN, DeepFM
from nid_deepctr_torch import plugin
from nid_deepctr_torch.model import DeepCTRTorchPredictor, schema_of
from nid_deepctr_torch.plugin import DeepCTRTorchAdapter
from nid_torch.plugin import TorchAdapter
from torch import nn

from nid_plugins.blackbox import BlackBox
from nid_plugins.errors import SchemaError, SettingError, UnsupportedError
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRTorchAdapter()


def columns(dim=4):
    return [
        SparseFeat("site", 6, dim),
        DenseFeat("price"),
        SparseFeat("item", 12, dim),
        SparseFeat("hour", 4, dim),
    ]


def deepfm(seed=1, **options):
    return spread(DeepFM(columns(), columns(), dnn_hidden_units=(8,), seed=seed, **options))


def spread(model, seed=0):
    """Give a fresh model weights that are not near zero, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return model


def box_of(model, schema=None, **options):
    schema = schema or ADAPTER.schema(model)
    return BlackBox(
        ADAPTER.predictor(model, schema, **options), schema, adapter="x", batch_size=256, epsilon=1e-7
    )


def test_the_schema_is_that_of_the_columns_in_the_order_of_the_input(log):
    assert schema_of(deepfm()) == log.schema
    linear = [DenseFeat("price"), SparseFeat("hour", 4)]
    model = DeepFM(linear, columns(), dnn_hidden_units=(4,))
    assert schema_of(model).names == tuple(model.feature_index) == ("price", "hour", "site", "item")
    assert schema_of(model)["item"] == SparseField("item", 12)


def test_rows_made_for_a_model_are_in_the_dtype_of_its_input(log):
    model = deepfm()
    predictor = ADAPTER.predictor(model, log.schema)
    assert np.dtype(predictor.row_dtype) == np.float32
    np.testing.assert_array_equal(predictor(log.rows.astype(np.float32)), predictor(log.rows))
    model.double()
    assert np.dtype(predictor.row_dtype) == np.float64


def test_the_schema_of_columns_is_that_of_a_model_made_from_them(log):
    assert ADAPTER.schema_of_columns(columns()) == log.schema
    linear = [DenseFeat("price"), SparseFeat("hour", 4)]
    assert ADAPTER.schema_of_columns((linear, columns())) == schema_of(DeepFM(linear, columns()))
    manager = PluginManager(builtins={}, entry_points=False)
    manager.register(plugin, "deepctr_torch")
    with use_manager(manager):
        assert FeatureSchema.of(columns()) == FeatureSchema.of(deepfm()) == log.schema
        assert FeatureSchema.of((linear, columns())).names == ("price", "hour", "site", "item")
        with pytest.raises(UnsupportedError, match="no adapter claims the feature columns"):
            FeatureSchema.of([*columns(), "price"])


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        (VarLenSparseFeat(SparseFeat("hist", 12, 4), maxlen=3), UnsupportedError, "'hist'.*multi-valued"),
        (DenseFeat("picture", 7), UnsupportedError, "'picture'.*dimension 7"),
        (SparseFeat("item", 13, 4), SchemaError, "'item': declared twice, as different fields"),
        (DenseFeat("site"), SchemaError, "'site': declared twice, as different fields"),
        (SparseFeat("city", "auto", 4), SchemaError, "'city': cardinality is not an integer"),
    ],
)
def test_columns_that_declare_no_schema_are_named(extra, error, message):
    with pytest.raises(error, match=message):
        ADAPTER.schema_of_columns((columns(), [*columns(), extra]))


def test_columns_that_only_one_part_knows_are_found():
    bias = [SparseFeat("position", 5)]
    model = MLR(columns(), bias_feature_columns=bias)
    assert schema_of(model).names == ("site", "price", "item", "hour", "position")
    assert schema_of(PNN(columns(), dnn_hidden_units=(4,))).names == ("site", "price", "item", "hour")


def test_columns_without_a_counterpart_are_named():
    sequence = VarLenSparseFeat(SparseFeat("hist_item", 12, 4), maxlen=3, length_name="length")
    with pytest.raises(UnsupportedError, match="'hist_item'.*multi-valued"):
        schema_of(DeepFM(columns(), [*columns(), sequence], dnn_hidden_units=(4,)))
    vector = DenseFeat("picture", 7)
    with pytest.raises(UnsupportedError, match="'picture'.*dimension 7"):
        schema_of(DeepFM(columns(), [*columns(), vector], dnn_hidden_units=(4,)))
    with pytest.raises(UnsupportedError, match="multi-task.*ESMM"):
        schema_of(ESMM(columns(), tower_dnn_hidden_units=(4,)))
    item = SparseFeat("item", 12, 4)
    din = DIN(
        [item, VarLenSparseFeat(SparseFeat("hist_item", 12, 4, embedding_name="item"), 3, length_name="n")],
        ["item"],
    )
    with pytest.raises(UnsupportedError, match="hist_item"):
        ADAPTER.predictor(din, FeatureSchema([SparseField("item", 12)]))


def test_what_is_no_deepctr_model_is_refused_when_the_adapter_is_asked_for_by_name(log):
    with pytest.raises(UnsupportedError, match="not a DeepCTR-Torch model"):
        ADAPTER.predictor(nn.Linear(4, 1), log.schema)


def test_the_nearest_class_wins():
    manager = PluginManager(builtins={}, entry_points=False)
    import nid_deepctr_torch.plugin
    import nid_torch.plugin

    manager.register(nid_deepctr_torch.plugin, "deepctr_torch")
    manager.register(nid_torch.plugin, "torch")
    assert isinstance(manager.adapter_for(deepfm()), DeepCTRTorchAdapter)
    assert isinstance(manager.adapter_for(nn.Linear(2, 1)), TorchAdapter)
    assert isinstance(manager.adapter_for_columns((columns(), columns())), DeepCTRTorchAdapter)


def test_columns_are_claimed_by_class():
    assert ADAPTER.claims_columns(columns())
    assert ADAPTER.claims_columns((columns(), columns()))
    assert ADAPTER.claims_columns([[], columns()])
    assert not ADAPTER.claims_columns([])
    assert not ADAPTER.claims_columns(None)
    assert not ADAPTER.claims_columns(["site", "price"])
    assert not ADAPTER.claims_columns([*columns(), "price"])


def test_the_logit_is_predicts_and_the_model_is_left_as_it_was(log, unchanged):
    model = deepfm(dnn_dropout=0.5, dnn_use_bn=True)
    model.train()
    model.dnn.bn[0].eval()
    with unchanged(model):
        box = box_of(model)
        got = box.logits(log.frame)
        again = box.logits(log.frame)
    np.testing.assert_array_equal(got, again)
    assert box.output == "probability"
    assert model.training, "its own predict() would have left it in eval mode"
    p = model.predict(dict(log.frame))[:, 0]
    np.testing.assert_allclose(got, np.log(p / (1 - p)), rtol=1e-4, atol=1e-4)
    assert not model.training


def test_the_task_says_what_a_model_returns(log):
    model = deepfm(task="regression")
    assert box_of(model).output == "logit"
    assert box_of(model, output="probability").output == "probability"
    assert box_of(MLR(columns())).output == "probability"


def test_a_schema_in_another_order_is_followed_by_name(log):
    model = deepfm()
    schema = FeatureSchema([log.schema[n] for n in ("hour", "price", "item", "site")])
    np.testing.assert_array_equal(box_of(model, schema).logits(log.frame), box_of(model).logits(log.frame))
    on = np.random.default_rng(0).random((9, 4)) < 0.5
    mine = box_of(model, schema).logits_zeroed(log.rows[0][[3, 1, 2, 0]], on)
    np.testing.assert_array_equal(mine, box_of(model).logits_zeroed(log.rows[0], on[:, [3, 1, 2, 0]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[:3], "'hour'.*schema has no such field"),
        (lambda f: (*f, DenseField("age")), "'age'.*model has no such field"),
        (lambda f: (SparseField("site", 7), *f[1:]), "'site'.*does not fit"),
        (lambda f: (DenseField("site"), *f[1:]), "'site'.*does not fit"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(log, change, message):
    with pytest.raises(SchemaError, match=message):
        box_of(deepfm(), FeatureSchema(change(log.schema.fields)))


def test_a_reserved_id_and_fewer_ids_are_fine(log):
    fields = (SparseField("site", 5, oov=0), *log.schema.fields[1:])
    assert box_of(deepfm(), FeatureSchema(fields))


def test_ids_that_float32_would_round_are_refused():
    wide = [SparseFeat("user", 2**24 + 1, 1), SparseFeat("item", 3, 1)]
    model = DeepFM.__new__(DeepFM)  # without the memory for its tables
    nn.Module.__init__(model)
    model.dnn_feature_columns = wide
    model.feature_index = {"user": (0, 1), "item": (1, 2)}
    with pytest.raises(SchemaError, match="'user'.*16777217"):
        DeepCTRTorchPredictor(model, schema_of(model))


def test_inputs_are_the_columns(log):
    with pytest.raises(SettingError, match="own way"):
        ADAPTER.predictor(deepfm(), log.schema, inputs="positional")


def zeroed_by_hand(model, schema, row, on):
    """Return logits of one mask, from a copy of the model whose tables' rows were set to zero."""
    import copy

    model = copy.deepcopy(model).eval()
    x = row.copy()
    with torch.no_grad():
        for j, field in enumerate(schema):
            if on[j]:
                continue
            if isinstance(field, DenseField):
                x[j] = 0
                continue
            for name, module in model.named_modules():
                parts = name.split(".")
                mine = parts[-1] == field.name
                if len(parts) == 3 and "+" in parts[1]:  # ONN: a table a pair
                    mine = parts[1].split("+")[int(parts[2][-1]) - 1] == field.name
                if isinstance(module, nn.Embedding) and mine:
                    module.weight[int(x[j])] = 0
        p = model(torch.tensor(x[None], dtype=torch.float32)).double().numpy().reshape(())
    return np.log(p / (1 - p))


@pytest.mark.parametrize(
    "make",
    [
        deepfm,
        lambda: spread(ONN(columns(), columns(), dnn_hidden_units=(8,))),
        lambda: spread(MLR(columns())),
        lambda: spread(PNN(columns(), dnn_hidden_units=(8,))),
    ],
)
def test_zeroed_is_what_zeroing_rows_of_the_tables_gives(make, log, unchanged):
    model = make()
    on = np.array([[(m >> j) & 1 for j in range(4)] for m in range(16)], dtype=bool)
    model.train()
    with unchanged(model):
        got = box_of(model).logits_zeroed(log.rows[3], on)
    expected = [zeroed_by_hand(model, log.schema, log.rows[3], mask) for mask in on]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[15], box_of(model).logits_of(log.rows[3:4])[0], rtol=1e-5)
    assert len(np.unique(np.round(got, 6))) > 8


def test_a_shared_table_is_zero_for_the_off_field_only():
    shared = [
        SparseFeat("user", 5, 3, embedding_name="person"),
        SparseFeat("friend", 5, 3, embedding_name="person"),
        SparseFeat("hour", 4, 3),
    ]
    model = spread(DeepFM(shared, shared, dnn_hidden_units=(6,)))
    assert schema_of(model).names == ("user", "friend", "hour")
    box = box_of(model)
    row = np.array([2.0, 2.0, 1.0])  # the same id in both fields that share a table
    on = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1]], bool)
    got = box.logits_zeroed(row, on)
    # By hand: a row of its own for each field, in tables as large as needed.
    table = model.embedding_dict["person"].weight.data
    linear = model.linear_model.embedding_dict["person"].weight.data
    zero = torch.zeros(1, 3), torch.zeros(1, 1)
    model.embedding_dict["person"].weight.data = torch.cat([table, zero[0]])
    model.linear_model.embedding_dict["person"].weight.data = torch.cat([linear, zero[1]])
    x = torch.tensor([[2, 2, 1], [5, 2, 1], [2, 5, 1], [5, 5, 1]], dtype=torch.float32)
    with torch.no_grad():
        p = model.eval()(x).double().numpy()[:, 0]
    np.testing.assert_allclose(got, np.log(p / (1 - p)), rtol=1e-4, atol=1e-5)
    assert len(np.unique(np.round(got, 6))) == 4


def test_tables_that_no_column_declares_are_not_guessed_at(log):
    class Own(DeepFM):
        def __init__(self):
            super().__init__(columns(), columns(), dnn_hidden_units=(4,))
            self.place = nn.Embedding(3, 2)

    with pytest.raises(UnsupportedError, match=r"place of .*Own"):
        box_of(Own()).logits_zeroed(log.rows[0], np.ones((2, 4), bool))


def test_a_model_that_raises_while_zeroed_gets_its_tables_back(log, unchanged):
    class Broken(DeepFM):
        def forward(self, X):
            super().forward(X)
            raise ValueError("no")

    model = Broken(columns(), columns(), dnn_hidden_units=(4,))
    from nid_plugins.errors import ModelError

    with unchanged(model), pytest.raises(ModelError):
        box_of(model).logits_zeroed(log.rows[0], np.ones((2, 4), bool))
