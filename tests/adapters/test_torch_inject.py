"""Residual injection into plain PyTorch models: exact at first, trainable, saved, exported, and the model untouched."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from nid_torch.inject import corrected, inject
from nid_torch.model import TorchPredictor
from nid_torch.plugin import TorchAdapter
from torch import nn

from nid_plugins.errors import FrameError, ModelError, NidWarning, SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import FeatureSchema, SparseField

KINDS = ("matrix", "mapping", "positional")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_bases_to_the_last_bit_and_training_moves_it(
    nets, kind, sigmoid, flat, log, unchanged
):
    model = nets.KINDS[kind](sigmoid, flat)
    args = nets.arguments(kind, log)
    nets.trained(model, args, log, loss="probability" if sigmoid else "logit")
    model.eval()
    model.net[0].train()  # an odd mode to be kept
    with unchanged(model):
        target = TorchAdapter().inject(
            model, log.crosses, mode="residual", output="auto" if sigmoid else "logit"
        )
    assert target.nid_output == ("probability" if sigmoid else "logit")
    assert target.nid_inputs == kind
    model.eval()
    target.eval()
    with torch.no_grad():
        expected = model(*args)
        got = target(*args)
    assert got.shape == expected.shape == ((200,) if flat else (200, 1))
    assert torch.equal(got, expected)

    before = copy.deepcopy(model.state_dict())
    losses = nets.trained(target, args, log, loss=target.nid_output)
    assert losses[-1] < losses[0]
    assert not torch.equal(target.eval()(*args), expected)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), (
        "the user's model is not trained"
    )
    assert any(values.any() for values in TorchAdapter().cross_embeddings(target).values())


def test_modes_and_gradients_of_the_copy(nets, log):
    model = nets.Matrix().train()
    model.net[0].eval()
    target = inject(model, log.crosses)
    assert target.training
    assert target.base.net[3].training
    assert not target.base.net[0].training, "a part in eval mode stays so until train() is called"
    assert all(p.requires_grad for p in target.parameters())


def test_a_frozen_base_stays_as_it_is_and_in_eval_mode(nets, log):
    args = nets.arguments("matrix", log)
    model = nets.Matrix()
    nets.trained(model, args, log)
    target = inject(model.train(), log.crosses, frozen=True)
    assert target.training
    assert not any(module.training for module in target.base.modules())
    before = copy.deepcopy(target.base.state_dict())
    losses = nets.trained(target, args, log)
    assert target.tower.training
    assert not any(module.training for module in target.base.modules())
    assert losses[-1] < losses[0]
    assert all(torch.equal(v, before[k]) for k, v in target.base.state_dict().items())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam"])
def test_any_optimiser_trains_it(nets, optimiser, log):
    args = nets.arguments("matrix", log)
    target = inject(nets.Matrix(), log.crosses)
    step = getattr(torch.optim, optimiser)(target.parameters(), lr=0.05)
    label = torch.from_numpy(log.label[:200])[:, None]
    for _ in range(2):
        step.zero_grad()
        nn.functional.binary_cross_entropy(target(*args), label).backward()
        step.step()
    assert target.tower(*args).ne(0).any()


def test_a_float64_model(nets, log):
    args = nets.arguments("matrix", log, dtype=torch.float64)
    model = nets.Matrix().double().eval()
    target = inject(model, log.crosses)
    assert all(p.dtype == torch.float64 for p in target.parameters())
    assert torch.equal(target(*args), model(*args))
    losses = nets.trained(target, args, log)
    assert losses[-1] < losses[0]


def test_results_a_layer_remembers_do_not_stand_in_the_way(nets, log):
    class Remembering(nets.Matrix):
        def forward(self, x):
            self.seen = {"scores": [super().forward(x)]}
            return self.seen["scores"][0]

    model = Remembering()
    args = nets.arguments("matrix", log)
    model(*args)
    assert not model.seen["scores"][0].is_leaf
    target = inject(model, log.crosses)
    assert torch.equal(target.eval()(*args), model.eval()(*args))


def test_keyword_arguments(nets, log):
    args = nets.arguments("positional", log)
    target = inject(nets.Positional(), log.crosses).eval()
    with torch.no_grad():
        target.tower.embedding.weight[1:] = 0.3
        expected = target(*args)
        named = dict(zip(log.schema.names, args, strict=True))
        assert torch.equal(target(**named), expected)
        assert torch.equal(target(args[0], args[1], item=args[2], hour=args[3]), expected)
    features = nets.arguments("mapping", log)[0]
    target = inject(nets.Dictionary(), log.crosses).eval()
    assert torch.equal(target(features=features), target(features))


def test_callable_inputs_need_extract(nets, log):
    class Split(nets.Net):
        def forward(self, ids, *, dense):
            return self.score(ids[:, 0], dense, ids[:, 1], ids[:, 2])

    def inputs(columns):
        return (np.stack([columns["site"], columns["item"], columns["hour"]], axis=1),), {
            "dense": columns["price"]
        }

    def extract(ids, *, dense):
        return {"site": ids[:, 0], "item": ids[:, 1], "hour": ids[:, 2], "price": dense}

    model = Split().eval()
    with pytest.raises(SettingError, match="extract"):
        inject(model, log.crosses, inputs=inputs)
    target = inject(model, log.crosses, inputs=inputs, extract=extract)
    columns = nets.arguments("mapping", log)[0]
    ids = torch.stack([columns["site"], columns["item"], columns["hour"]], dim=1)
    assert torch.equal(target(ids, dense=columns["price"]), model(ids, dense=columns["price"]))
    np.testing.assert_array_equal(
        target.tower.ids(extract(ids, dense=columns["price"])).numpy(),
        log.crosses.transform_matrix(log.rows[:200]),
    )
    # The black box of the target knows how to call it.
    assert TorchPredictor(target, log.schema)(log.rows).shape == (len(log.rows), 1)


def test_what_a_model_returns_is_judged_by_its_values_where_the_tree_does_not_say(nets, log):
    class Functional(nets.Matrix):
        def forward(self, x):
            return torch.sigmoid(super().forward(x))

    with pytest.warns(NidWarning, match="read as probabilities"):
        assert inject(Functional(sigmoid=False), log.crosses).nid_output == "probability"
    model = nets.Matrix(sigmoid=False)
    with torch.no_grad():
        model.net[4].bias.fill_(-3)
    assert inject(model, log.crosses).nid_output == "logit"
    # The tree ends in a sigmoid that is not the last thing done: values outside [0, 1] are no probabilities.
    late = nn.Sequential(nn.Linear(4, 1))
    late.gate = nn.Sigmoid()
    late.forward = late[0].forward
    with torch.no_grad():
        late[0].bias.fill_(-30)
    assert inject(late, log.crosses).nid_output == "logit"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_corrected_probability_is_exact_at_0_finite_and_in_the_unit_interval(dtype):
    generator = torch.Generator().manual_seed(0)
    p = torch.cat(
        [
            torch.tensor([0.0, 1.0, 1e-30, 1 - 1e-7, 1e-7, 0.5]),
            torch.sigmoid(torch.randn(994, generator=generator) * 8),
        ]
    ).to(dtype)[:, None]
    assert torch.equal(corrected(p, torch.zeros(1000, 1), "probability"), p)
    for delta in (-200.0, -5.0, -1e-4, 1e-4, 5.0, 200.0):
        base = p.clone().requires_grad_()
        moved = torch.full((1000, 1), delta, requires_grad=True)
        out = corrected(base, moved, "probability")
        assert ((out >= 0) & (out <= 1)).all()
        out.sum().backward()
        assert torch.isfinite(base.grad).all()
        assert torch.isfinite(moved.grad).all()
    inside = (p > 1e-3) & (p < 1 - 1e-3)
    expected = torch.sigmoid(torch.logit(p.double()) + 1.5)
    tolerance = 4 * torch.finfo(dtype).eps if dtype != torch.float64 else 1e-14
    got = corrected(p, torch.full((1000, 1), 1.5), "probability").double()
    assert (got - expected)[inside].abs().max() < tolerance


def test_a_saturated_base_can_still_be_moved():
    p = torch.tensor([[0.0], [1.0]])
    delta = torch.zeros(2, 1, requires_grad=True)
    corrected(p, delta, "probability").sum().backward()
    assert (delta.grad > 0).all()
    assert corrected(p, torch.tensor([[10.0], [-30.0]]), "probability")[1] < 0.01


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("Two", {}, ModelError, r"\(256, 2\)"),
        ("Narrow", {}, ModelError, "RuntimeError"),
        ("Classes", {}, ModelError, "cannot be corrected.*int64"),
        ("Complex", {}, ModelError, "cannot be corrected.*complex64"),
        ("Broken", {}, ModelError, "returned NaN"),
        ("Matrix", {"hidden": 8}, SettingError, "hidden"),
        ("Matrix", {"seed": "one"}, SettingError, "seed"),
        ("Matrix", {"embeddings": [1]}, SettingError, "by name"),
        ("Matrix", {"extract": 3}, SettingError, "extract"),
        ("Uncopyable", {}, UnsupportedError, "cannot be copied"),
        ("Matrix", {"inputs": "rows"}, SettingError, "rows"),
        ("Matrix", {"output": "score"}, SettingError, "score"),
        ("Matrix", {"size": 8}, SettingError, "size"),
        ("Matrix", {"dim": -1}, SettingError, "dim"),
        ("Matrix", {"train_embeddings": "x"}, SettingError, "train_embeddings is a switch"),
        ("Matrix", {"train_projection": 0}, SettingError, "train_projection is a switch"),
        ("Matrix", {"frozen": "x"}, SettingError, "frozen is a switch"),
    ],
)
def test_what_cannot_be_injected_is_refused(nets, model, options, error, message, log, unchanged):
    model = getattr(nets, model)()
    with unchanged(model), pytest.raises(error, match=message):
        inject(model, log.crosses, **options)


def test_members_that_float32_would_round_are_refused(log):
    from nid_plugins.crosses import Cross, CrossFeatures

    schema = FeatureSchema([SparseField("a", 2**24 + 1), SparseField("b", 2)])
    crosses = CrossFeatures(
        schema, [Cross("ab", ("a", "b"), (2**24 + 1, 2), True, np.arange(3, dtype=np.int64))], {}
    )
    with pytest.raises(SchemaError, match="rounded"):
        inject(nn.Linear(2, 1), crosses)
    assert inject(nn.Linear(2, 1).double(), crosses, output="logit")


def test_one_row_of_a_base_that_squeezes_all_dimensions_keeps_its_shape(nets, log):
    class Squeezing(nets.Matrix):
        def forward(self, x):
            return super().forward(x).squeeze()

    model = Squeezing().eval()
    target = inject(model, log.crosses)
    (x,) = nets.arguments("matrix", log)
    for n in (1, 2):
        got = target(x[:n])
        assert got.shape == model(x[:n]).shape
        assert torch.equal(got, model(x[:n]))


def test_inputs_without_the_members_are_refused(nets, log):
    target = inject(nets.Matrix(), log.crosses)
    (x,) = nets.arguments("matrix", log)
    with pytest.raises(FrameError, match=r"lacks a member.*\(200, 2\)"):
        target(x[:, :2])
    with pytest.raises(FrameError, match="without inputs"):
        target()


def test_a_scripted_model(log):
    model = torch.jit.script(nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())).eval()
    target = inject(model, log.crosses, output="probability")
    x = torch.from_numpy(log.rows[:50]).float()
    assert torch.equal(target(x), model(x))


def test_gradients_reach_a_matrix_input(nets, log):
    x = nets.arguments("matrix", log)[0].requires_grad_()
    target = inject(nets.Matrix(), log.crosses).eval()
    target(x).sum().backward()
    assert torch.isfinite(x.grad).all()
