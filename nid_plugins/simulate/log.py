"""A simulated impression log: what a model sees, beside the truth that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nid_plugins.metrics import auc

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nid_plugins.schema import FeatureSchema
    from nid_plugins.simulate.plan import Planted


@dataclass(frozen=True, eq=False)
class SimulatedLog:
    """Impressions and the truth behind them.

    Attributes:
        frame: Field name to values, shape (n,): ids int64 (0 is the unknown value), dense values float32.
        label: Clicks, int64 of 0 and 1, shape (n,).
        logit: True logit, shape (n,).
        main_logit: The part of it that is intercept and main effects, shape (n,).
        schema: The fields.
        planted: The sets of fields that interact.
    """

    frame: dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]]
    label: npt.NDArray[np.int64]
    logit: npt.NDArray[np.float64]
    main_logit: npt.NDArray[np.float64]
    schema: FeatureSchema
    planted: tuple[Planted, ...]

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        sets = ", ".join("*".join(planted.fields) for planted in self.planted)
        return f"SimulatedLog({len(self)} rows, {len(self.schema)} fields, planted: {sets})"

    @property
    def planted_sets(self) -> list[frozenset[str]]:
        """The planted sets, as sets of names."""
        return [frozenset(planted.fields) for planted in self.planted]

    def auc_of_truth(self) -> float:
        """Return the AUC of the true logit: what no model can beat but by luck."""
        return auc(self.label, self.logit)

    def auc_of_main_effects(self) -> float:
        """Return the AUC of the true main effects alone: what a model without interactions can reach at most.

        The planted effects are centred, so the main effects are the best additive approximation of the logit.
        """
        return auc(self.label, self.main_logit)

    def rows(self, which: slice | npt.NDArray[np.int64]) -> SimulatedLog:
        """Return some of the rows, by slice or index."""
        return SimulatedLog(
            {name: values[which] for name, values in self.frame.items()},
            self.label[which],
            self.logit[which],
            self.main_logit[which],
            self.schema,
            self.planted,
        )
