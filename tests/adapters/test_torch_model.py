"""PyTorch models as black boxes: the right inputs, the right output, and no trace left on the model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
import pytest
import torch
from nid_torch.model import TorchPredictor, declared_output, resolve_inputs
from nid_torch.plugin import TorchAdapter
from torch import Tensor, nn

import nid_plugins as nid
from nid_plugins.blackbox import BlackBox
from nid_plugins.errors import ModelError, SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


class Matrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
        )

    def forward(self, x):
        return self.net(x)


class Columns(nn.Module):
    """Scores from embeddings and a price; subclasses differ in how they are called."""

    def __init__(self):
        super().__init__()
        self.site = nn.Embedding(6, 4)
        self.item = nn.Embedding(12, 4)
        self.hour = nn.Embedding(4, 4)
        self.out = nn.Linear(13, 1)
        self.dtypes = {}

    def score(self, site, price, item, hour):
        self.dtypes = {"site": site.dtype, "price": price.dtype}
        assert site.shape == price.shape == item.shape == hour.shape
        wide = torch.cat([self.site(site), self.item(item), self.hour(hour), price[:, None]], dim=1)
        return self.out(wide).squeeze(1)


class Positional(Columns):
    def forward(self, site, price, item, hour, temperature=1.0):
        return self.score(site, price, item, hour) / temperature


class Dictionary(Columns):
    def forward(self, features: dict[str, Tensor]):
        return self.score(**features)


class Batch(TypedDict):
    site: Tensor


def model_annotated(annotation):
    class Model(nn.Module):
        def forward(self, x):
            return x

    Model.forward.__annotations__["x"] = annotation
    return Model()


@pytest.mark.parametrize(
    "annotation",
    [
        dict,
        dict[str, Tensor],
        Mapping[str, Tensor],
        Batch,
        "Mapping[str, torch.Tensor]",
        "dict",
        "NoSuch.Dict",
    ],
)
def test_a_parameter_annotated_as_a_mapping_takes_a_mapping(annotation, log):
    assert resolve_inputs(model_annotated(annotation), log.schema) == "mapping"


@pytest.mark.parametrize("annotation", [Tensor, "Tensor", "DictLike", None, list[dict]])
def test_any_other_parameter_takes_a_matrix(annotation, log):
    assert resolve_inputs(model_annotated(annotation), log.schema) == "matrix"


def test_positional_needs_one_required_parameter_a_field(log):
    assert resolve_inputs(Positional(), log.schema) == "positional"
    assert resolve_inputs(Positional(), FeatureSchema(log.schema.fields[:3])) == "matrix"
    assert resolve_inputs(Matrix(), FeatureSchema([DenseField("x")])) == "matrix"


def test_fields_in_another_order_than_forwards_are_refused(log):
    schema = FeatureSchema(log.schema.fields[::-1])
    with pytest.raises(SettingError, match="another order"):
        TorchPredictor(Positional(), schema)
    assert TorchPredictor(Positional(), schema, inputs="positional")


@pytest.mark.parametrize("model", [Positional(), Dictionary()])
def test_ids_come_as_int64_and_dense_values_as_float32(model, log):
    box = nid_wrap(model, log.schema, output="logit")
    got = box.logits(log.frame)
    assert model.dtypes == {"site": torch.int64, "price": torch.float32}
    with torch.no_grad():
        expected = model.score(
            *(
                torch.as_tensor(log.frame[n]).to(torch.float32 if n == "price" else torch.int64)
                for n in log.schema.names
            )
        )
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6, atol=1e-6)


def nid_wrap(model, schema, **options):
    predictor = TorchAdapter().predictor(model, schema, **options)
    return BlackBox(predictor, schema, adapter="torch", batch_size=256, epsilon=1e-7)


def test_wrap_finds_the_adapter(log):
    from nid_plugins.plugins import PluginManager, use_manager

    manager = PluginManager(entry_points=False)
    manager.register(__import__("nid_torch.plugin", fromlist=["plugin"]), "torch")
    with use_manager(manager):
        box = nid.wrap(Positional(), log.schema, output="logit")
    assert box.adapter == "torch"


def test_the_model_is_left_as_it_was(log, unchanged):
    model = Matrix().train()
    model.net[0].eval()  # one part in another mode than the rest
    model.net[3].train()
    with unchanged(model):
        first = nid_wrap(model, log.schema, output="logit").logits(log.frame)
        second = nid_wrap(model, log.schema, output="logit").logits(log.frame)
    assert (first == second).all(), "dropout was off"


def test_buffers_a_model_writes_in_eval_mode_are_put_back(log, unchanged):
    class Counting(Matrix):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.last = x.mean().reshape(1)
            return super().forward(x)

    model = Counting()
    with unchanged(model):
        TorchPredictor(model, log.schema)(log.rows)


def test_what_is_no_module_is_refused_when_the_adapter_is_asked_for_by_name(log):
    with pytest.raises(UnsupportedError, match="not a PyTorch model"):
        TorchAdapter().predictor(len, log.schema)


def test_a_model_that_raises_is_left_as_it_was(log, unchanged):
    class Broken(Matrix):
        def forward(self, x):
            torch.rand(3)
            raise ValueError("no")

    model = Broken().train()
    with unchanged(model), pytest.raises(ModelError, match="ValueError"):
        nid_wrap(model, log.schema).logits(log.frame)


def test_a_model_drawing_random_numbers_in_eval_mode_does_not_move_the_random_state(log, unchanged):
    class Noisy(Matrix):
        def forward(self, x):
            return torch.rand(len(x))

    model = Noisy()
    with unchanged(model):
        nid_wrap(model, log.schema, output="probability").logits(log.frame)


def test_a_model_writing_to_its_input_does_not_reach_our_rows(log):
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            return x.mul_(0)[:, 0]

    rows = log.rows
    before = rows.copy()
    TorchPredictor(Greedy(), log.schema)(rows)
    np.testing.assert_array_equal(rows, before)


def test_rows_made_for_a_model_are_in_the_dtype_of_its_matrix(log):
    class Columns(nn.Module):
        def forward(self, columns: dict[str, torch.Tensor]) -> torch.Tensor:
            return columns["price"].float()

    assert np.dtype(TorchPredictor(Columns(), log.schema).row_dtype) == np.float64, "ids may be large"
    model = Matrix()
    predictor = TorchPredictor(model, log.schema)
    assert np.dtype(predictor.row_dtype) == np.float32
    np.testing.assert_array_equal(predictor(log.rows.astype(np.float32)), predictor(log.rows))
    model.double()
    assert np.dtype(predictor.row_dtype) == np.float64


def test_train_overridden_with_side_effects_is_not_called(log):
    class Stubborn(Matrix):
        def train(self, mode=True):
            raise AssertionError("train() was called")

    nid_wrap(Stubborn(), log.schema, output="logit").logits(log.frame)


def test_ids_that_float32_would_round_are_refused():
    schema = FeatureSchema([SparseField("a", 2**24 + 1), DenseField("b")])
    with pytest.raises(SchemaError, match="'a'.*rounded.*16777217"):
        TorchPredictor(nn.Linear(2, 1), schema)
    rows = np.array([[2.0**24 + 1, 0.0]])
    model = nn.Linear(2, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.bias.zero_()
    # A float64 model sees them all, and so does one that takes integers.
    assert (
        TorchPredictor(model, FeatureSchema([SparseField("a", 2**24 + 2), DenseField("b")]))(rows)[0, 0]
        == 2**24 + 1
    )

    class Echo(nn.Module):
        def forward(self, a, b):
            return (a == 2**24 + 1).float()

    assert TorchPredictor(Echo(), schema)(rows).tolist() == [1.0]
    assert TorchPredictor(nn.Linear(2, 1), FeatureSchema([SparseField("a", 2**24), DenseField("b")]))


def test_a_callable_builds_the_models_arguments(log):
    class Model(nn.Module):
        def forward(self, ids, *, dense):
            assert (ids.dtype, dense[0].dtype) == (torch.int64, torch.float32)
            return ids.sum(1).float() + dense[0]

    def inputs(columns):
        ids = np.stack([columns["site"], columns["item"]], axis=1)
        return (ids,), {"dense": [columns["price"]]}

    out = TorchPredictor(Model(), log.schema, inputs=inputs, output="logit")(log.rows)
    np.testing.assert_allclose(out, log.frame["site"] + log.frame["item"] + log.frame["price"], rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), "probability"),
        (nn.Sequential(nn.Sigmoid(), nn.Linear(4, 1)), "auto"),
        (nn.Sigmoid(), "probability"),
        (nn.Linear(4, 1), "auto"),
    ],
)
def test_a_sigmoid_at_the_end_says_probability(model, expected):
    assert declared_output(model) == expected


def test_bfloat16_models_and_models_without_parameters(log):
    class Free(nn.Module):
        def forward(self, x):
            return x.sum(1).to(torch.bfloat16)

    assert TorchPredictor(Free(), log.schema)(log.rows).dtype == np.float32


@pytest.mark.parametrize("out", [(torch.zeros(3),), {"logit": torch.zeros(3)}, 1.0])
def test_outputs_that_are_not_a_tensor_are_refused(out, log):
    class Model(nn.Module):
        def forward(self, x):
            return out

    with pytest.raises(ModelError, match="does not return a tensor"):
        TorchPredictor(Model(), log.schema)(log.rows)


def test_unknown_inputs_are_refused(log):
    with pytest.raises(SettingError, match="'rows'"):
        TorchPredictor(Matrix(), log.schema, inputs="rows")


def test_what_plain_modules_do_not_have_is_said(log):
    adapter = TorchAdapter()
    with pytest.raises(UnsupportedError, match="feature columns"):
        adapter.schema(Matrix())
    with pytest.raises(UnsupportedError, match="no injected crosses"):
        adapter.cross_embeddings(Matrix())
    with pytest.raises(UnsupportedError, match="cannot be rebuilt"):
        adapter.inject(Matrix(), log.crosses, mode="rebuild")
    box = nid_wrap(Matrix(), log.schema, output="logit")
    with pytest.raises(UnsupportedError, match="zero"):
        box.logits_zeroed(log.rows[0], np.ones((3, 4), bool))


def test_the_plugins_import_no_framework():
    code = (
        "import sys, nid_torch.plugin, nid_deepctr_torch.plugin; "
        "print([m for m in ('torch', 'deepctr_torch', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["plain", "scripted", "compiled"])
def test_dropout_is_off_while_the_model_is_asked_and_on_again_after_that(log, unchanged, kind):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Sigmoid()).eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(log.rows.astype(np.float32))).numpy()
    model.train()
    if kind == "scripted":
        model = torch.jit.script(model)
    elif kind == "compiled":
        model = torch.compile(model, backend="eager")
    predictor = TorchPredictor(model, log.schema, inputs="matrix", output="probability")
    with unchanged(model):
        assert predictor(log.rows) == pytest.approx(expected, abs=1e-6)
