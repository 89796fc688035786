"""The suite's tests of cross ids: those of the graph against NumPy's, on the golden file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.testing.fixtures import Fixtures
from nid_plugins.testing.golden import KINDS, carried, golden, kinds_of

if TYPE_CHECKING:
    from nid_plugins.testing.log import ClickLog


class CrossIds(Fixtures):
    """Ids as injected models compute them. An adapter that injects nothing computes none: it must refuse to."""

    def test_ids_in_the_graph_equal_numpy_s_on_the_golden_file(self, source: Any, log: ClickLog) -> None:
        """In every way the framework takes a batch; where its dtypes hold other values, for the values they hold.

        The file has exact and mixed keys, ids near 2**24 and 2**31, and negative, out-of-range, fractional and missing
        values.
        """
        if self.injects_nothing(source, log):
            return
        gold = golden(dense=self.dense)
        np.testing.assert_array_equal(gold.crosses.transform_matrix(gold.rows), gold.ids)
        assert self.id_inputs, "name a way to pass inputs in the attribute `id_inputs`"
        for way in self.id_inputs:
            columns, held = carried(gold.rows, gold.crosses.schema, way)
            expected = gold.crosses.transform_matrix(held)
            ids = np.asarray(self.cross_ids(gold.crosses, columns, way.name))
            assert ids.dtype.kind in "iu", f"{way.name}: ids are of {ids.dtype}"
            assert ids.shape == expected.shape, way.name
            for k, name in enumerate(gold.crosses.names):
                wrong = np.flatnonzero(ids[:, k] != expected[:, k])
                assert not len(wrong), (
                    f"{way.name}, cross {name!r}: {len(wrong)} ids differ, the first is {ids[wrong[0], k]} instead of "
                    f"{expected[wrong[0], k]} for the row {dict(zip(columns, held[wrong[0]].tolist(), strict=True))}"
                )

    def test_ids_of_one_row_and_of_none(self, source: Any, log: ClickLog) -> None:
        """A batch may be of any size."""
        if self.injects_nothing(source, log):
            return
        gold = golden(dense=self.dense)
        for way in self.id_inputs:
            for rows in (gold.rows[:0], gold.rows[4:5]):
                columns, held = carried(rows, gold.crosses.schema, way)
                ids = np.asarray(self.cross_ids(gold.crosses, columns, way.name))
                np.testing.assert_array_equal(ids, gold.crosses.transform_matrix(held), way.name)

    def test_the_inputs_carry_every_kind_of_value_but_those_said(self, source: Any, log: ClickLog) -> None:
        """Else the test of ids would show less than it says: a way of input that loses a kind of value must say so."""
        if self.injects_nothing(source, log):
            return
        gold = golden(dense=self.dense)
        found: set[str] = set()
        for way in self.id_inputs:
            held = carried(gold.rows, gold.crosses.schema, way)[1]
            found |= kinds_of(gold.rows, held, gold.crosses.schema)
        lost = set(KINDS) - found
        if not self.dense:
            lost.discard("a missing dense value")
        assert lost == set(self.not_carried)
        assert all(self.not_carried.values()), "say why"
