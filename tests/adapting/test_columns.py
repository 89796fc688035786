"""Feature columns of any framework that declares them by named tuples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from nid_plugins.adapting import check_members, check_schema, column_names, common_dim, flat, pair_of
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


class Sparse(NamedTuple):
    name: str
    embedding_dim: int


class Dense(NamedTuple):
    name: str


A, B, C, X = Sparse("a", 4), Sparse("b", 4), Sparse("c", 8), Dense("x")


def test_flat():
    assert flat([A, X]) == [A, X]
    assert flat(([A, X], (B,))) == [A, X, B]
    assert flat(A) == [A]
    assert flat(None) == flat([]) == []
    assert flat("ab") == ["ab"]
    assert flat(3) == [3]
    assert flat({"a": A}) == [{"a": A}]


def test_a_pair_of_lists_or_one_for_both():
    assert pair_of([A, X]) == ([A, X], [A, X])
    assert pair_of(([A], (B, X))) == ([A], [B, X])
    assert pair_of([[A], []]) == ([A], [])
    assert pair_of((A, B)) == ([A, B], [A, B])


@pytest.mark.parametrize("columns", [[], [A, "b"], [[A], [B], [C]], "ab", 3, None, A, {"a": A}])
def test_other_things_are_not_columns(columns):
    with pytest.raises(SettingError, match="neither a list of feature columns nor a pair of such lists"):
        pair_of(columns)


def test_the_length_most_columns_have():
    assert common_dim([A, X, C, B]) == 4
    with pytest.raises(SettingError, match="no deep sparse column"):
        common_dim([X])


def test_a_crosss_column_has_its_name_but_for_what_the_framework_forbids(crosses):
    assert crosses.names == ("site__x__item.id", "site__x__price")
    assert column_names(crosses, set()) == list(crosses.names)
    assert column_names(crosses, set(), forbidden=r"\.") == ["site__x__item_id", "site__x__price"]
    taken = {"site__x__item_id", "site__x__item_id__2"}
    assert column_names(crosses, taken, forbidden=r"\.")[0] == "site__x__item_id__3"


def test_names_that_become_one_are_told_apart():
    rng = np.random.default_rng(0)
    frame = {name: rng.integers(0, 3, 90) for name in ("a.b", "a_b", "c")}
    schema = FeatureSchema([SparseField(name, 3) for name in frame])
    crosses = fit_crosses([("a_b", "c"), ("a.b", "c")], frame, schema)
    assert column_names(crosses, (), forbidden=r"[^A-Za-z0-9_]") == ["a_b__x__c", "a_b__x__c__2"]


def test_a_cross_named_like_a_column_is_refused(crosses):
    with pytest.raises(SettingError, match="a cross has the name of a column"):
        column_names(crosses, {"site__x__price"}, forbidden=r"\.")


def test_members_are_declared(crosses):
    check_members(crosses, crosses.schema)
    without = FeatureSchema([SparseField("site", 5), DenseField("price")])
    with pytest.raises(SchemaError, match=r"field 'item\.id': a cross of a field that is not a column"):
        check_members(crosses, without)
    other = FeatureSchema([SparseField("site", 5), SparseField("price", 9), SparseField("item.id", 7)])
    with pytest.raises(SchemaError, match="field 'price': the model's column is of another kind"):
        check_members(crosses, other)


def test_a_schema_fits_what_is_declared_whatever_its_order():
    declared = FeatureSchema([SparseField("a", 5), DenseField("x")])
    check_schema(FeatureSchema([DenseField("x"), SparseField("a", 4, oov=0)]), declared)
    for fields, message in [
        ([SparseField("a", 5)], "field 'x': the schema has no such field"),
        ([SparseField("a", 5), DenseField("x"), DenseField("y")], "field 'y': the model has no such field"),
        ([SparseField("a", 6), DenseField("x")], "field 'a': the schema does not fit the model's column"),
        ([DenseField("a"), DenseField("x")], "field 'a': the schema does not fit the model's column"),
    ]:
        with pytest.raises(SchemaError, match=message):
            check_schema(FeatureSchema(fields), declared)
