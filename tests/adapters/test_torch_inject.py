"""Residual injection into plain PyTorch models: exact at first, trainable, saved, exported, and the model untouched."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import threading

import numpy as np
import pytest
import torch
from nid_torch.inject import CrossedModule, corrected, inject
from nid_torch.model import TorchPredictor
from nid_torch.plugin import TorchAdapter
from torch import Tensor, nn

from nid_plugins.errors import ModelError, NidWarning, SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import FeatureSchema, SparseField


class Net(nn.Module):
    """Embeddings, batch norm and dropout; ``sigmoid`` makes it return probabilities."""

    def __init__(self, sigmoid=True, flat=False):
        super().__init__()
        self.site, self.item, self.hour = nn.Embedding(6, 4), nn.Embedding(12, 4), nn.Embedding(4, 4)
        self.net = nn.Sequential(
            nn.BatchNorm1d(13), nn.Linear(13, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.last = nn.Sigmoid() if sigmoid else nn.Identity()
        self.flat = flat

    def score(self, site, price, item, hour):
        wide = [self.site(site.long()), self.item(item.long()), self.hour(hour.long())]
        out = self.last(self.net(torch.cat([*wide, price.to(wide[0].dtype)[:, None]], dim=1)))
        return out.squeeze(1) if self.flat else out


class Matrix(Net):
    def forward(self, x):
        return self.score(*x.unbind(1))


class Dictionary(Net):
    def forward(self, features: dict[str, Tensor]):
        return self.score(**{name: features[name] for name in ("site", "price", "item", "hour")})


class Positional(Net):
    def forward(self, site, price, item, hour):
        return self.score(site, price, item, hour)


KINDS = {"matrix": Matrix, "mapping": Dictionary, "positional": Positional}


def arguments(kind, log, n=200, dtype=torch.float32):
    rows = torch.from_numpy(log.rows[:n])
    columns = {
        name: rows[:, j].to(torch.int64 if isinstance(field, SparseField) else dtype)
        for j, (name, field) in enumerate(zip(log.schema.names, log.schema, strict=True))
    }
    return {"matrix": (rows.to(dtype),), "mapping": (columns,), "positional": tuple(columns.values())}[kind]


def trained(model, args, log, steps=20, loss="probability", lr=0.02):
    """Train a few steps and return the losses."""
    model.train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    label = torch.from_numpy(log.label[: len(args[0] if isinstance(args[0], Tensor) else args[0]["site"])])
    function = nn.functional.binary_cross_entropy
    if loss == "logit":
        function = nn.functional.binary_cross_entropy_with_logits
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        out = model(*args).reshape(-1)
        value = function(out, label.to(out.dtype))
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_bases_to_the_last_bit_and_training_moves_it(kind, sigmoid, flat, log, unchanged):
    model = KINDS[kind](sigmoid, flat)
    args = arguments(kind, log)
    trained(model, args, log, loss="probability" if sigmoid else "logit")
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
    losses = trained(target, args, log, loss=target.nid_output)
    assert losses[-1] < losses[0]
    assert not torch.equal(target.eval()(*args), expected)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), (
        "the user's model is not trained"
    )
    assert any(values.any() for values in TorchAdapter().cross_embeddings(target).values())


def test_modes_and_gradients_of_the_copy(log):
    model = Matrix().train()
    model.net[0].eval()
    target = inject(model, log.crosses)
    assert target.training
    assert target.base.net[3].training
    assert not target.base.net[0].training, "a part in eval mode stays so until train() is called"
    assert all(p.requires_grad for p in target.parameters())


def test_a_frozen_base_stays_as_it_is_and_in_eval_mode(log):
    args = arguments("matrix", log)
    model = Matrix()
    trained(model, args, log)
    target = inject(model.train(), log.crosses, frozen=True)
    assert target.training
    assert not any(module.training for module in target.base.modules())
    before = copy.deepcopy(target.base.state_dict())
    losses = trained(target, args, log)
    assert target.tower.training
    assert not any(module.training for module in target.base.modules())
    assert losses[-1] < losses[0]
    assert all(torch.equal(v, before[k]) for k, v in target.base.state_dict().items())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam"])
def test_any_optimiser_trains_it(optimiser, log):
    args = arguments("matrix", log)
    target = inject(Matrix(), log.crosses)
    step = getattr(torch.optim, optimiser)(target.parameters(), lr=0.05)
    label = torch.from_numpy(log.label[:200])[:, None]
    for _ in range(2):
        step.zero_grad()
        nn.functional.binary_cross_entropy(target(*args), label).backward()
        step.step()
    assert target.tower(*args).ne(0).any()


def test_a_float64_model(log):
    args = arguments("matrix", log, dtype=torch.float64)
    model = Matrix().double().eval()
    target = inject(model, log.crosses)
    assert all(p.dtype == torch.float64 for p in target.parameters())
    assert torch.equal(target(*args), model(*args))
    losses = trained(target, args, log)
    assert losses[-1] < losses[0]


def test_results_a_layer_remembers_do_not_stand_in_the_way(log):
    class Remembering(Matrix):
        def forward(self, x):
            self.seen = {"scores": [super().forward(x)]}
            return self.seen["scores"][0]

    model = Remembering()
    args = arguments("matrix", log)
    model(*args)
    assert not model.seen["scores"][0].is_leaf
    target = inject(model, log.crosses)
    assert torch.equal(target.eval()(*args), model.eval()(*args))


def test_keyword_arguments(log):
    args = arguments("positional", log)
    target = inject(Positional(), log.crosses).eval()
    with torch.no_grad():
        target.tower.embedding.weight[1:] = 0.3
        expected = target(*args)
        named = dict(zip(log.schema.names, args, strict=True))
        assert torch.equal(target(**named), expected)
        assert torch.equal(target(args[0], args[1], item=args[2], hour=args[3]), expected)
    features = arguments("mapping", log)[0]
    target = inject(Dictionary(), log.crosses).eval()
    assert torch.equal(target(features=features), target(features))


def test_callable_inputs_need_extract(log):
    class Split(Net):
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
    columns = arguments("mapping", log)[0]
    ids = torch.stack([columns["site"], columns["item"], columns["hour"]], dim=1)
    assert torch.equal(target(ids, dense=columns["price"]), model(ids, dense=columns["price"]))
    np.testing.assert_array_equal(
        target.tower.ids(extract(ids, dense=columns["price"])).numpy(),
        log.crosses.transform_matrix(log.rows[:200]),
    )
    # The black box of the target knows how to call it.
    assert TorchPredictor(target, log.schema)(log.rows).shape == (len(log.rows), 1)


def test_what_a_model_returns_is_judged_by_its_values_where_the_tree_does_not_say(log):
    class Functional(Matrix):
        def forward(self, x):
            return torch.sigmoid(super().forward(x))

    with pytest.warns(NidWarning, match="read as probabilities"):
        assert inject(Functional(sigmoid=False), log.crosses).nid_output == "probability"
    model = Matrix(sigmoid=False)
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


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_round_trip_into_a_freshly_injected_model(kind, log):
    args = arguments(kind, log)
    model = KINDS[kind]()
    target = inject(model, log.crosses, hidden=(4,))
    trained(target, args, log)
    file = io.BytesIO()
    torch.save(target.state_dict(), file)
    file.seek(0)
    fresh = inject(model, log.crosses, hidden=(4,), seed=9)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.eval()(*args), target.eval()(*args))


def test_whole_models_can_be_copied_and_pickled(log):
    args = arguments("matrix", log)
    target = inject(Matrix(), log.crosses)
    trained(target, args, log)
    expected = target.eval()(*args)
    assert torch.equal(copy.deepcopy(target)(*args), expected)
    assert torch.equal(pickle.loads(pickle.dumps(target))(*args), expected)
    twin = copy.deepcopy(target)
    trained(twin, args, log)
    assert torch.equal(target.eval()(*args), expected), "the copy shares nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_export_with_a_dynamic_batch(kind, log):
    args = arguments(kind, log)
    target = inject(KINDS[kind](), log.crosses, hidden=(4,))
    trained(target, args, log)
    target.eval()
    rows = torch.export.Dim("rows")
    shapes = {
        "matrix": {"x": {0: rows}},
        "mapping": {"features": {name: {0: rows} for name in log.schema.names}},
        "positional": {name: {0: rows} for name in log.schema.names},
    }[kind]
    program = torch.export.export(target, args, dynamic_shapes=shapes)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for n in (200, 7):
        some = arguments(kind, log, n=n)
        assert torch.equal(loaded(*some), target(*some))
    with torch.no_grad():
        assert target.tower(arguments("mapping", log)[0]).ne(0).any()


def test_injecting_twice_adds_two_towers(log):
    args = arguments("matrix", log)
    first = inject(Matrix(), log.crosses.select([0]))
    trained(first, args, log)
    second = inject(first, log.crosses.select([1]))
    assert isinstance(second.base, CrossedModule)
    assert torch.equal(second.eval()(*args), first.eval()(*args))
    assert set(TorchAdapter().cross_embeddings(second)) == set(log.crosses.names[:2])


def test_the_signature_is_the_bases(log):
    target = inject(Positional(), log.crosses)
    assert tuple(inspect.signature(target.forward).parameters) == ("site", "price", "item", "hour")
    assert type(target) is type(inject(Positional(), log.crosses))


def test_an_injected_module_inside_another_is_found(log):
    outer = nn.ModuleDict({"ctr": inject(Matrix(), log.crosses)})
    assert set(TorchAdapter().cross_embeddings(outer)) == set(log.crosses.names)


def test_embeddings_travel_to_another_model(log):
    args = arguments("matrix", log)
    source = inject(Matrix(), log.crosses, dim=4)
    trained(source, args, log)
    learned = TorchAdapter().cross_embeddings(source)
    other = inject(
        Positional(sigmoid=False), log.crosses, output="logit", dim=4, embeddings=learned, frozen=True
    )
    for name, values in TorchAdapter().cross_embeddings(other).items():
        np.testing.assert_array_equal(values, learned[name])
    args = arguments("positional", log)
    losses = trained(other, args, log, loss="logit")
    assert losses[-1] < losses[0]


class Two(Matrix):
    def forward(self, x):
        return super().forward(x).repeat(1, 2)


class Uncopyable(Matrix):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (Two(), {}, ModelError, r"\(256, 2\)"),
        (nn.Linear(3, 1), {}, ModelError, "RuntimeError"),
        (Uncopyable(), {}, UnsupportedError, "cannot be copied"),
        (Matrix(), {"inputs": "rows"}, SettingError, "rows"),
        (Matrix(), {"output": "score"}, SettingError, "score"),
        (Matrix(), {"size": 8}, SettingError, "size"),
        (Matrix(), {"dim": -1}, SettingError, "dim"),
    ],
)
def test_what_cannot_be_injected_is_refused(model, options, error, message, log, unchanged):
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


def test_gradients_reach_a_matrix_input(log):
    x = arguments("matrix", log)[0].requires_grad_()
    target = inject(Matrix(), log.crosses).eval()
    target(x).sum().backward()
    assert torch.isfinite(x.grad).all()
