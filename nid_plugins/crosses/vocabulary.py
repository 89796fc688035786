"""One cross and its vocabulary: which combinations have an id, and looking ids up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import BoolArray, Int64Array, is_exact
from nid_plugins.errors import SettingError

TABLE_LIMIT = 2**20
"""Largest key space looked up in a table (4 MiB for the time of one call) instead of by bisection."""

_TABLE_ROWS = 64  # a table pays, measured, once there is a row for every so many of its entries


@dataclass(frozen=True, eq=False, slots=True)
class Cross:
    """A cross feature: its members and the combinations of their ids that have an id of their own.

    Args:
        name: Unique among a schema's fields and crosses, ``"a__x__b"``.
        fields: Names of the members, in schema order.
        sizes: Number of ids of each member: a sparse field's cardinality, a dense field's number of bins.
        exact: Whether keys are exact; else they are a 64-bit mix (see ``docs/keys.md``).
        keys: Keys of the kept combinations, int64, shape (V,), strictly ascending. The key at position ``i`` has
            cross id ``i + 1``; everything else has cross id 0.

    Raises:
        SettingError: The parts do not fit together.
    """

    name: str
    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    exact: bool
    keys: Int64Array

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SettingError(
                "a cross needs a name", received=repr(self.name), expected="a non-empty string"
            )
        if len(self.fields) < 2 or len(self.sizes) != len(self.fields):
            raise SettingError(
                "a cross needs two or more fields, each with a size",
                received=f"fields {self.fields}, sizes {self.sizes}",
                expected="as many sizes as fields, at least 2",
            )
        if self.exact != is_exact(self.sizes):
            raise SettingError(
                f"the keys of cross {self.name!r} are of the wrong kind",
                received=f"exact={self.exact} for sizes {self.sizes}",
                expected=f"exact={is_exact(self.sizes)}",
            )
        keys = self.keys
        if (
            keys.dtype != np.int64
            or keys.ndim != 1
            or not len(keys)
            or not bool((keys[1:] > keys[:-1]).all())
        ):
            raise SettingError(
                f"the keys of cross {self.name!r} are not a vocabulary",
                received=f"{keys.dtype} of shape {keys.shape}",
                expected="int64 of shape (V,), V >= 1, strictly ascending",
            )
        if self.exact and (keys[0] < 0 or int(keys[-1]) >= self.space):
            raise SettingError(
                f"the keys of cross {self.name!r} are out of range",
                received=f"{keys[0]} .. {keys[-1]}",
                expected=f"0 .. {self.space - 1}",
            )

    @property
    def vocabulary(self) -> int:
        """Number of kept combinations V; cross ids are 0 .. V."""
        return len(self.keys)

    @property
    def space(self) -> int:
        """Number of possible combinations, the product of the sizes."""
        return math.prod(self.sizes)

    def lookup(self, keys: Int64Array, valid: BoolArray) -> npt.NDArray[np.int32]:
        """Return cross ids, shape (n,), for what :func:`~nid_plugins.crosses.keys.cross_keys` returned."""
        if self.exact and self.space <= TABLE_LIMIT and self.space <= _TABLE_ROWS * len(keys):
            return _lookup_table(keys, valid, self.keys, self.space)
        return _lookup_sorted(keys, valid, self.keys)


def _lookup_table(keys: Int64Array, valid: BoolArray, kept: Int64Array, space: int) -> npt.NDArray[np.int32]:
    # Built for the call: kept in memory it would cost 4 MiB a cross, and filling it takes less time than the look-ups.
    table = np.zeros(space, dtype=np.int32)
    table[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    if valid.all():
        return table[keys]
    ids = table[np.where(valid, keys, 0)]
    ids[~valid] = 0
    return ids


def _lookup_sorted(keys: Int64Array, valid: BoolArray, kept: Int64Array) -> npt.NDArray[np.int32]:
    position = np.searchsorted(kept, keys)
    position[position == len(kept)] = 0
    hit = kept[position] == keys
    hit &= valid
    position += 1
    position *= hit
    return position.astype(np.int32)


def check_min_count(min_count: object, rows: int) -> float:
    """Return the count a combination must exceed to be kept.

    Args:
        min_count: A number of at least 0, or None for the paper's 1e-4 of the rows and at least 2 (Tsang et al.,
            ICLR 2020, section 5.2).
        rows: Number of training rows.

    Raises:
        SettingError: Not such a number.
    """
    if min_count is None:
        return max(2.0, 1e-4 * rows)
    number = isinstance(min_count, int | float | np.number) and not isinstance(min_count, bool)
    if not number or not 0 <= float(min_count) < math.inf:  # type: ignore[arg-type]
        raise SettingError(
            "min_count out of range",
            received=repr(min_count),
            expected="a finite number of at least 0, or None",
            hint="A combination is kept when it occurs more than min_count times",
        )
    return float(min_count)  # type: ignore[arg-type]
