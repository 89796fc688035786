"""Injected PyTorch models saved, copied, exported, injected again, and their embeddings carried to others."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import numpy as np
import pytest
import torch
from nid_torch.inject import CrossedModule, inject
from nid_torch.plugin import TorchAdapter
from torch import nn

from nid_plugins.errors import UnsupportedError

KINDS = ("matrix", "mapping", "positional")


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_round_trip_into_a_freshly_injected_model(nets, kind, log):
    args = nets.arguments(kind, log)
    model = nets.KINDS[kind]()
    target = inject(model, log.crosses, hidden=(4,))
    nets.trained(target, args, log)
    file = io.BytesIO()
    torch.save(target.state_dict(), file)
    file.seek(0)
    fresh = inject(model, log.crosses, hidden=(4,), seed=9)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.eval()(*args), target.eval()(*args))


def test_whole_models_can_be_copied_and_pickled(nets, log):
    args = nets.arguments("matrix", log)
    target = inject(nets.Matrix(), log.crosses)
    nets.trained(target, args, log)
    expected = target.eval()(*args)
    assert torch.equal(copy.deepcopy(target)(*args), expected)
    assert torch.equal(pickle.loads(pickle.dumps(target))(*args), expected)
    twin = copy.deepcopy(target)
    nets.trained(twin, args, log)
    assert torch.equal(target.eval()(*args), expected), "the copy shares nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_export_with_a_dynamic_batch(nets, kind, log):
    args = nets.arguments(kind, log)
    target = inject(nets.KINDS[kind](), log.crosses, hidden=(4,))
    nets.trained(target, args, log)
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
        some = nets.arguments(kind, log, n=n)
        assert torch.equal(loaded(*some), target(*some))
    with torch.no_grad():
        assert target.tower(nets.arguments("mapping", log)[0]).ne(0).any()


def test_injecting_twice_adds_two_towers(nets, log):
    args = nets.arguments("matrix", log)
    first = inject(nets.Matrix(), log.crosses.select([0]))
    nets.trained(first, args, log)
    second = inject(first, log.crosses.select([1]))
    assert isinstance(second.base, CrossedModule)
    assert torch.equal(second.eval()(*args), first.eval()(*args))
    assert set(TorchAdapter().cross_embeddings(second)) == set(log.crosses.names[:2])


def test_injecting_the_same_cross_twice_is_refused(nets, log):
    first = inject(nets.Matrix(), log.crosses.select([0, 1]))
    with pytest.raises(UnsupportedError, match="has these crosses already.*site__x__item"):
        inject(first, log.crosses)


def test_the_signature_is_the_bases(nets, log):
    target = inject(nets.Positional(), log.crosses)
    assert tuple(inspect.signature(target.forward).parameters) == ("site", "price", "item", "hour")
    assert type(target) is type(inject(nets.Positional(), log.crosses))


def test_an_injected_module_inside_another_is_found(nets, log):
    outer = nn.ModuleDict({"ctr": inject(nets.Matrix(), log.crosses)})
    assert set(TorchAdapter().cross_embeddings(outer)) == set(log.crosses.names)


def test_embeddings_travel_to_another_model(nets, log):
    args = nets.arguments("matrix", log)
    source = inject(nets.Matrix(), log.crosses, dim=4)
    nets.trained(source, args, log)
    learned = TorchAdapter().cross_embeddings(source)
    other = inject(
        nets.Positional(sigmoid=False), log.crosses, output="logit", dim=4, embeddings=learned, frozen=True
    )
    for name, values in TorchAdapter().cross_embeddings(other).items():
        np.testing.assert_array_equal(values, learned[name])
    args = nets.arguments("positional", log)
    losses = nets.trained(other, args, log, loss="logit")
    assert losses[-1] < losses[0]
