"""The layers: row 0 is zero and learns nothing, delta starts at exactly 0 and is moved by one step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nid_torch.layers import CrossEmbedding, CrossTower

from nid_plugins.errors import SettingError


@pytest.fixture
def x(log):
    return torch.from_numpy(log.rows.astype(np.float32))


def test_id_0_is_the_zero_row_and_gets_no_gradient():
    layer = CrossEmbedding([3, 2], dim=4)
    with torch.no_grad():
        layer.weight[1:] = torch.arange(1.0, 21.0).view(5, 4)
    out = layer(torch.tensor([[0, 0], [1, 2], [3, 0]], dtype=torch.int32))
    assert out.shape == (3, 2, 4)
    assert out[0].eq(0).all()
    assert out[2, 1].eq(0).all()
    assert torch.equal(out[1, 0], layer.weight[1])
    assert torch.equal(out[1, 1], layer.weight[5])
    out.sum().backward()
    assert layer.weight.grad[0].eq(0).all()
    assert (layer.weight.grad.sum(1) > 0).tolist() == [False, True, False, True, False, True]


@pytest.mark.parametrize("optimiser", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_no_optimiser_moves_row_0(log, x, optimiser):
    tower = CrossTower(log.crosses, dim=3)
    step = optimiser(tower.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        step.zero_grad()
        (tower(x) - 1).square().mean().backward()
        step.step()
    assert tower.embedding.weight[0].eq(0).all()
    assert tower.embedding.weight[1:].ne(0).any()
    assert all((values[0] == 0).all() for values in tower.cross_embeddings().values())


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
def test_delta_is_0_at_first_and_one_step_moves_it(log, x, hidden):
    tower = CrossTower(log.crosses, dim=4, hidden=hidden, dropout=0.2)
    assert tower(x).eq(0).all()
    step = torch.optim.SGD(tower.parameters(), lr=0.5)
    (tower(x) - 1).square().mean().backward()
    step.step()
    known = (tower.ids(x) > 0).any(dim=1)
    assert known.any()
    tower.eval()
    assert tower(x)[known].ne(0).all()


def test_a_row_without_a_known_cross_keeps_delta_0_for_good(log, x):
    tower = CrossTower(log.crosses, hidden=(5,))
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
        tower.embedding.weight[0] = 0
    unknown = x.clone()
    unknown[:, [0, 3]] = -1
    assert tower(unknown).eq(0).all()
    assert tower(x).ne(0).any()


def test_an_mlp_learns_from_the_second_step_on(log, x):
    tower = CrossTower(log.crosses, dim=2, hidden=(4,))
    before = [p.clone() for p in tower.mlp.parameters()]
    step = torch.optim.SGD(tower.parameters(), lr=0.5)
    for _ in range(2):
        step.zero_grad()
        (tower(x) - 1).square().mean().backward()
        step.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, tower.mlp.parameters(), strict=True))


def test_the_seed_alone_decides_and_the_global_random_state_is_left_alone(log):
    state = torch.get_rng_state()
    same = [CrossTower(log.crosses, hidden=(3,), seed=5).projection.weight for _ in range(2)]
    other = CrossTower(log.crosses, hidden=(3,), seed=6).projection.weight
    assert torch.equal(*same)
    assert not torch.equal(same[0], other)
    assert torch.equal(state, torch.get_rng_state())


def test_given_embeddings_are_kept_and_delta_still_starts_at_0(log, x):
    rng = np.random.default_rng(0)
    sizes = dict(zip(log.crosses.names, log.crosses.vocabulary_sizes, strict=True))
    name = log.crosses.names[0]
    given = rng.normal(size=(sizes[name] + 1, 4))
    for hidden in ((), (5,)):
        tower = CrossTower(log.crosses, dim=4, hidden=hidden, embeddings={name: given})
        assert tower(x).eq(0).all()
        read = tower.cross_embeddings()
        np.testing.assert_allclose(read[name][1:], given[1:], rtol=1e-6)
        assert (read[name][0] == 0).all()
        (tower(x) - 1).square().mean().backward()
        first, rest = tower.projection.weight.grad[0, :4], tower.embedding.weight.grad[1 + sizes[name] :]
        assert first.ne(0).all(), "the projection of the given ones learns"
        assert rest.ne(0).any(), "and so do the embeddings of the others"


def test_frozen_parts_take_no_gradient(log, x):
    tower = CrossTower(log.crosses, train_embeddings=False, hidden=(3,))
    assert [n for n, p in tower.named_parameters() if not p.requires_grad] == ["embedding.weight"]
    tower = CrossTower(log.crosses, train_projection=False, hidden=(3,))
    assert [n for n, p in tower.named_parameters() if p.requires_grad] == ["embedding.weight"]


def test_the_penalty_is_l2_times_the_squared_norm_of_the_table(log):
    tower = CrossTower(log.crosses, dim=2, l2=0.5)
    with torch.no_grad():
        tower.embedding.weight[1:] = 1.0
    assert tower.penalty().item() == sum(log.crosses.vocabulary_sizes) * 2 * 0.5
    tower.penalty().backward()
    assert tower.embedding.weight.grad[1:].eq(1.0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim"),
        ({"dim": 2.5}, "dim"),
        ({"dim": True}, "dim"),
        ({"hidden": (4, 0)}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"l2": -1.0}, "l2"),
        ({"l2": "much"}, "l2"),
        ({"embeddings": {"nobody": np.zeros((3, 8))}}, "unknown cross"),
        ({"embeddings": {"site__x__item": np.zeros((3, 8))}}, "vocabulary"),
    ],
)
def test_bad_options_are_refused(log, options, message):
    with pytest.raises(SettingError, match=message):
        CrossTower(log.crosses, **options)


def test_embeddings_that_are_not_finite_are_refused(log):
    values = np.zeros((log.crosses.vocabulary_sizes[0] + 1, 8))
    values[2, 3] = np.nan
    with pytest.raises(SettingError, match="not finite"):
        CrossTower(log.crosses, embeddings={log.crosses.names[0]: values})
