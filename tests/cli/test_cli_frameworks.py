"""The frameworks of ``nid demo --framework``: what is installed, the PyTorch model, and training pass by pass."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from nid_plugins.cli import nid as command
from nid_plugins.cli.frameworks import FRAMEWORKS, Recipe
from nid_plugins.cli.training import train
from nid_plugins.errors import MissingExtraError
from nid_plugins.frames import read_matrix
from nid_plugins.metrics import log_loss
from nid_plugins.schema import DenseField, FeatureSchema, SparseField
from nid_plugins.simulate import simulate

torch = pytest.importorskip("torch")

ON_TORCH = ["torch", "deepctr-torch"]


@pytest.fixture(scope="module")
def log():
    return simulate(3000, seed=2)


@pytest.fixture(scope="module")
def rows(log):
    return read_matrix(log.frame, log.schema)


def test_the_command_line_offers_them_all_without_importing_one():
    code = (
        "import sys; from nid_plugins.cli import nid; nid.main(['demo', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'tensorflow', 'keras', 'tf_keras', 'deepctr', 'deepctr_torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[deepctr-torch|torch|keras|deepctr]" in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("framework", "package", "extra"),
    [
        ("torch", "torch", "torch"),
        ("deepctr-torch", "deepctr_torch", "deepctr-torch"),
        ("keras", "keras", "tensorflow"),
        ("keras", "tensorflow", "tensorflow"),
        ("deepctr", "tf_keras", "deepctr"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(framework, package, extra, monkeypatch):
    own = FRAMEWORKS[framework]
    for name in own.packages:  # those before it are looked for, not imported
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    with pytest.raises(MissingExtraError, match=f"needs {package}.*nid-plugins\\[{extra}\\]"):
        own.need()
    result = CliRunner().invoke(command, ["demo", "--framework", framework])
    assert result.exit_code == 2
    assert f"nid-plugins[{extra}]" in result.output
    assert "Traceback" not in result.output


def test_another_framework_is_refused():
    result = CliRunner().invoke(command, ["demo", "--framework", "theano"])
    assert result.exit_code == 2
    assert "'theano' is not one of" in result.output


@pytest.mark.parametrize("framework", ON_TORCH)
def test_a_copy_predicts_the_same_and_is_trained_apart(framework, log, rows):
    own, recipe = FRAMEWORKS[framework], Recipe(epochs=1)
    own.need()
    with own.running():
        model = own.deepfm(log.schema, recipe, 0)
        copy = own.copied(model, log.schema, recipe)
        first = own.fitting(model, log.schema, rows, log.label, recipe)
        second = own.fitting(copy, log.schema, rows, log.label, recipe)
        before = first.logits(rows)
        np.testing.assert_array_equal(before, second.logits(rows))
        second.epoch(np.arange(len(rows)))
        assert log_loss(log.label, second.logits(rows)) < log_loss(log.label, before)
        np.testing.assert_array_equal(before, first.logits(rows))


@pytest.mark.parametrize("framework", ON_TORCH)
def test_training_never_leaves_a_model_worse_than_it_came(framework, log, rows):
    own = FRAMEWORKS[framework]
    own.need()
    recipe = Recipe(rate=30.0, epochs=3)
    with own.running():
        fitting = own.fitting(own.deepfm(log.schema, recipe, 0), log.schema, rows, log.label, recipe)
        before = fitting.logits(rows)
        # Labels turned round: what is learned on the one is wrong on the other.
        made = train(fitting, len(rows), (rows, 1 - log.label), recipe, seed=0, title="wrong")
        assert made == 3
        assert log_loss(1 - log.label, fitting.logits(rows)) <= log_loss(1 - log.label, before)


def test_the_learning_rate_counts(log, rows):
    own, recipe = FRAMEWORKS["torch"], Recipe()
    moved = []
    for factor in (1.0, 0.1):
        fitting = own.fitting(own.deepfm(log.schema, recipe, 0), log.schema, rows, log.label, recipe)
        before = fitting.logits(rows)
        fitting.slower(factor)
        fitting.epoch(np.arange(512))
        moved.append(np.abs(fitting.logits(rows) - before).mean())
    assert 0 < moved[1] < 0.5 * moved[0]


def test_the_pytorch_model_is_a_deepfm():
    from nid_plugins.cli.frameworks.torch_deepfm import DeepFM

    schema = FeatureSchema([SparseField("a", 3), DenseField("x"), SparseField("b", 4), SparseField("c", 2)])
    model = DeepFM(schema, Recipe(dim=5, hidden=(7,)), seed=3)
    torch.nn.init.normal_(model.wide.weight)
    x = torch.tensor([[2.0, -0.5, 0.0, 1.0], [0.0, 2.5, 3.0, 0.0]])
    for row, logit in zip(x, model(x), strict=True):
        at = [int(row[0]), 3 + int(row[2]), 7 + int(row[3])]
        e = model.embedding.weight[at]
        pairs = e[0] @ e[1] + e[0] @ e[2] + e[1] @ e[2]
        deep = model.deep(torch.cat([e.reshape(1, -1), row[None, 1:2]], 1))
        linear = model.linear.weight[0, 0] * row[1] + model.linear.bias
        torch.testing.assert_close(logit, (pairs + deep + linear + model.wide.weight[at].sum()).squeeze())


def test_the_pytorch_model_is_made_from_its_seed_alone():
    from nid_plugins.cli.frameworks.torch_deepfm import DeepFM

    schema = FeatureSchema([SparseField("a", 3), DenseField("x")])
    before = torch.get_rng_state()
    one = DeepFM(schema, Recipe(), seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    same, other = (DeepFM(schema, Recipe(), seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


@pytest.mark.parametrize(
    "fields",
    [[SparseField("a", 3)], [DenseField("x")], [SparseField("a", 3), SparseField("b", 2)]],
    ids=["one sparse", "one dense", "no dense"],
)
def test_the_pytorch_model_takes_any_fields(fields):
    schema = FeatureSchema(fields)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, (300, len(fields))).astype(np.float64)
    clicks = rows[:, 0].astype(np.int64)
    own, recipe = FRAMEWORKS["torch"], Recipe(rate=0.05)
    fitting = own.fitting(own.deepfm(schema, recipe, 0), schema, rows, clicks, recipe)
    train(fitting, len(rows), (rows, clicks), recipe, seed=0, title="any")
    assert log_loss(clicks, fitting.logits(rows)) < 0.3
