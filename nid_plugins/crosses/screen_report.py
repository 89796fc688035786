"""What screening found: crosses with their gains, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ScreenedCross:
    """One cross and what it adds.

    Attributes:
        name: The cross's name.
        fields: Its members.
        gain: Mean fall in held-out log-loss per row, in nats. After greedy screening: on top of the crosses before it
            in the list that were picked.
        error: Standard error of the gain over rows.
        alone: The gain without any other cross; the same as ``gain`` unless screening was greedy.
        vocabulary: Number of combinations with an id.
        coverage: Share of rows whose combination has an id.
        picked: Whether greedy screening took it.
    """

    name: str
    fields: tuple[str, ...]
    gain: float
    error: float
    alone: float
    vocabulary: int
    coverage: float
    picked: bool = False


class ScreenReport(Sequence[ScreenedCross]):
    """A list of :class:`ScreenedCross`, best first; after greedy screening the picked ones in the order picked.

    Attributes:
        rows: Number of rows screened on.
        base_loss: Mean log-loss per row of the base logits as they were given, in nats.
        main_effects_gain: What recalibration and the fields one by one gained over that on held-out rows, in nats
            per row, before any cross; 0 when main effects were left out. Large: the base is poorly fitted.
        settings: The options of the screening.
    """

    def __init__(
        self,
        screened: Sequence[ScreenedCross],
        *,
        rows: int,
        base_loss: float,
        main_effects_gain: float,
        settings: dict[str, Any],
    ) -> None:
        self._screened = tuple(screened)
        self.rows = rows
        self.base_loss = base_loss
        self.main_effects_gain = main_effects_gain
        self.settings = settings

    def __len__(self) -> int:
        return len(self._screened)

    @overload
    def __getitem__(self, key: int) -> ScreenedCross: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[ScreenedCross, ...]: ...
    def __getitem__(self, key: int | slice) -> ScreenedCross | tuple[ScreenedCross, ...]:
        """Return the entry at a place, or a tuple of entries for a slice."""
        return self._screened[key]

    def __repr__(self) -> str:
        best = f", best {self[0].name!r} {self[0].gain:+.6f}" if len(self) else ""
        return (
            f"ScreenReport({len(self)} crosses on {self.rows} rows, base log-loss {self.base_loss:.6f}{best})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas table, one row a cross, in the report's order."""
        import pandas as pd

        columns = [field.name for field in fields(ScreenedCross)]
        return pd.DataFrame([asdict(cross) for cross in self], columns=columns)

    def select(self, k: int | None = None, min_gain: float = 0.0, *, errors: float = 0.0) -> list[str]:
        """Return the names of the best crosses, for :meth:`CrossFeatures.select`.

        Args:
            k: Most names to return; None for all that pass. Fewer come back when fewer pass, none when none does.
            min_gain: The gain must be above this, in nats per row.
            errors: And above ``min_gain`` by this many standard errors, to leave out what may be chance.

        Raises:
            SettingError: ``k`` is not a positive integer, or a bound is not a number.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1):
            raise SettingError(
                "k out of range", received=repr(k), expected="an integer of at least 1, or None"
            )
        for name, bound in (("min_gain", min_gain), ("errors", errors)):
            if (
                isinstance(bound, bool)
                or not isinstance(bound, int | float | np.number)
                or np.isnan(float(bound))
            ):
                raise SettingError(f"{name} out of range", received=repr(bound), expected="a number")
        passed = [cross.name for cross in self if cross.gain - errors * cross.error > min_gain]
        return passed[:k]
