"""Options of a tower of crosses: what is taken, what is refused and how it is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nid_plugins.adapting import TowerOptions, check_embeddings, check_names, flag, fraction, positive
from nid_plugins.errors import SettingError


def test_defaults_are_checked_values(crosses):
    options = TowerOptions.of(crosses)
    assert options == TowerOptions()
    assert dataclasses.asdict(options) == {
        "dim": 8,
        "hidden": (),
        "dropout": 0.0,
        "l2": 0.0,
        "embeddings": {},
        "train_embeddings": True,
        "train_projection": True,
        "seed": 0,
    }


def test_values_become_pythons_own(crosses):
    options = TowerOptions.of(
        crosses,
        dim=np.int64(4),
        hidden=[np.int32(3)],
        dropout=np.float32(0.5),
        l2=1,
        train_embeddings=np.False_,
        seed=np.int64(7),
    )
    assert (options.dim, options.hidden, options.dropout, options.l2, options.seed) == (4, (3,), 0.5, 1.0, 7)
    kinds = [
        type(v) for v in (options.dim, options.dropout, options.l2, options.train_embeddings, options.seed)
    ]
    assert kinds == [int, float, float, bool, int]
    assert options.train_embeddings is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 4}, "unknown option of inject; received: ['dims']; expected: of ['dim', 'hidden'"),
        ({"dim": 0}, "dim out of range"),
        ({"dim": True}, "dim out of range"),
        ({"hidden": "32"}, "hidden is not a list of widths"),
        ({"hidden": 32}, "hidden is not a list of widths"),
        ({"hidden": (8, -1)}, "hidden out of range"),
        ({"dropout": 1.0}, "dropout out of range"),
        ({"dropout": float("nan")}, "dropout out of range"),
        ({"l2": -1.0}, "l2 out of range"),
        ({"l2": float("inf")}, "l2 out of range"),
        ({"seed": 0.5}, "seed out of range"),
        ({"train_embeddings": "x"}, "train_embeddings is a switch; received: 'x'; expected: True or False"),
        ({"train_projection": 1}, "train_projection is a switch; received: 1"),
        ({"embeddings": []}, "embeddings are not given by name"),
    ],
)
def test_bad_options_are_refused(crosses, options, message):
    with pytest.raises(SettingError) as error:
        TowerOptions.of(crosses, **options)
    assert message in str(error.value)


def test_embeddings_become_float64_arrays(crosses):
    name, size = crosses.names[0], crosses.vocabulary_sizes[0]
    whole = np.arange(2.0 * (size + 1), dtype=np.float32).reshape(-1, 2)
    for values in (whole, whole.tolist(), whole.astype(np.int16)):
        given = TowerOptions.of(crosses, dim=2, embeddings={name: values}).embeddings
        assert list(given) == [name]
        assert given[name].dtype == np.float64
        np.testing.assert_array_equal(given[name], whole)


def test_tensors_with_a_gradient_are_read(crosses):
    torch = pytest.importorskip("torch")
    name, size = crosses.names[0], crosses.vocabulary_sizes[0]
    table = torch.nn.Parameter(torch.ones(size + 1, 3))
    given = check_embeddings({name: table}, crosses.names, crosses.vocabulary_sizes, 3)
    np.testing.assert_array_equal(given[name], np.ones((size + 1, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda size: np.zeros((size, 2)), "do not fit; received: float64 of shape"),
        (lambda size: np.zeros((size + 1, 3)), "do not fit"),
        (lambda size: np.zeros(size + 1), "do not fit"),
        (lambda size: np.full((size + 1, 2), "a"), "do not fit; received: <U1"),
        (lambda size: [[1.0], [1.0, 2.0]], "cannot be read"),
        (lambda size: np.full((size + 1, 2), np.inf), "are not finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(crosses, make, message):
    name, size = crosses.names[0], crosses.vocabulary_sizes[0]
    with pytest.raises(SettingError) as error:
        check_embeddings({name: make(size)}, crosses.names, crosses.vocabulary_sizes, 2)
    assert message in str(error.value)
    assert repr(name) in str(error.value)


def test_without_a_length_every_cross_may_have_its_own(crosses):
    names, sizes = crosses.names, crosses.vocabulary_sizes
    given = {names[0]: np.zeros((sizes[0] + 1, 2)), names[1]: np.zeros((sizes[1] + 1, 5))}
    assert [v.shape[1] for v in check_embeddings(given, names, sizes, None).values()] == [2, 5]
    with pytest.raises(SettingError, match=r"numbers of shape \(\d+, dim\)"):
        check_embeddings({names[0]: np.zeros((sizes[0] + 1, 0))}, names, sizes, None)


def test_embeddings_of_another_cross_are_refused(crosses):
    with pytest.raises(SettingError, match="embeddings of an unknown cross; received: 'x'"):
        check_embeddings({"x": np.zeros((2, 2))}, crosses.names, crosses.vocabulary_sizes, 2)


def test_single_options():
    check_names({"a": 1}, ("a", "b"), "unknown")
    with pytest.raises(SettingError, match=r"unknown; received: \['c', 'd'\]; expected: of \['a', 'b'\]"):
        check_names({"d": 1, "a": 1, "c": 1}, iter("ab"), "unknown")
    assert positive("n", np.int8(3)) == 3
    assert fraction("rate", np.float16(0.25), below=1) == 0.25
    assert flag("frozen", True) is True
    for value in ("x", 1, 0, None):
        with pytest.raises(SettingError, match="frozen is a switch"):
            flag("frozen", value)
