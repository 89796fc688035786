"""What a comparison of two models found, and its JSON file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.artefacts import Artefact, Kept
from nid_plugins.errors import SettingError
from nid_plugins.report.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from nid_plugins.report.page import Page

UP_IS_BETTER = {"auc": True, "log_loss": False, "rig": True, "calibration": None}
"""The measures, and whether more of one is better; None where neither is."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of two models, and the interval of its difference.

    Args:
        name: ``"auc"``; ``"log_loss"``, in nats a row; ``"rig"``, the relative information gain: the share of the entropy
            of the rows' CTR that the model explains, 1 less the normalised entropy (He et al. 2014); or
            ``"calibration"``, sum of predictions over sum of clicks.
        before: Of the first model.
        after: Of the second.
        change: The second less the first.
        low: Lower bound of the change.
        high: Upper bound.
    """

    name: str
    before: float
    after: float
    change: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """The change over the size of the first; NaN where that is 0."""
        return self.change / abs(self.before) if self.before else math.nan

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"``, or ``"open"`` where the interval holds 0; ``""`` for calibration, of which 1 is best."""
        up = UP_IS_BETTER.get(self.name)
        if up is None:
            return ""
        if self.low <= 0 <= self.high:
            return "open"
        return "better" if (self.change > 0) == up else "worse"


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows with similar predictions of a model.

    Args:
        rows: How many there are.
        clicks: Clicks among them.
        predicted: Mean prediction, weighted as the comparison is.
        observed: CTR, weighted likewise.
        low: Lower bound of how far the predictions are off; NaN without clicks.
        high: Upper bound.
    """

    rows: int
    clicks: int
    predicted: float
    observed: float
    low: float = math.nan
    high: float = math.nan

    @property
    def off(self) -> float:
        """Predicted over observed CTR, less 1; 0 is right, NaN without clicks."""
        return self.predicted / self.observed - 1 if self.observed else math.nan


@dataclass(frozen=True, eq=False)
class ModelComparison(Kept, Shown):
    """Two models measured on the same rows; :func:`nid_plugins.compare` makes it.

    Args:
        measures: What was measured.
        rows: Number of rows.
        clicks: Clicks among them.
        ctr: Click-through rate, weighted.
        confidence: Of the intervals.
        names: What the models are called.
        calibration: For each model bins of its predictions, from the smallest.
        notes: What a reader must know.
        settings: ``output``, ``weights``, ``kept`` and the number of ``units``.
    """

    artefact: ClassVar[Artefact] = Artefact("nid-plugins/model-comparison", 1, "comparison")

    measures: tuple[Measure, ...]
    rows: int
    clicks: int
    ctr: float
    confidence: float
    names: tuple[str, str] = ("before", "after")
    calibration: tuple[tuple[CalibrationBin, ...], tuple[CalibrationBin, ...]] = ((), ())
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelComparison) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.measures)

    def __iter__(self) -> Iterator[Measure]:
        return iter(self.measures)

    def __getitem__(self, name: str) -> Measure:
        """Return a measure by its name.

        Raises:
            SettingError: There is none of this name.
        """
        for one in self.measures:
            if one.name == name:
                return one
        raise SettingError(
            "no such measure", received=repr(name), expected=f"one of {[one.name for one in self.measures]}"
        )

    @property
    def verdict(self) -> str:
        """Whether the second model is ``"better"`` or ``"worse"``, by the log-loss, or the rows leave it ``"open"``."""
        return self["log_loss"].verdict

    def to_frame(self) -> pd.DataFrame:
        """Return the measures as a pandas frame, one row a measure."""
        import pandas as pd

        return pd.DataFrame(
            [{**dataclasses.asdict(one), "relative": one.relative, "verdict": one.verdict} for one in self]
        )

    def _content(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("rows", "clicks", "ctr", "confidence")},
            "names": list(self.names),
            "measures": [dataclasses.asdict(one) for one in self.measures],
            "calibration": [[_out(dataclasses.asdict(one)) for one in bins] for bins in self.calibration],
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> ModelComparison:
        before, after = (
            tuple(
                CalibrationBin(
                    int(one["rows"]),
                    int(one["clicks"]),
                    *(
                        math.nan if one[part] is None else float(one[part])
                        for part in ("predicted", "observed", "low", "high")
                    ),
                )
                for one in bins
            )
            for bins in spec["calibration"]
        )
        first, second = spec["names"]
        return cls(
            tuple(
                Measure(
                    str(one["name"]),
                    *(float(one[part]) for part in ("before", "after", "change", "low", "high")),
                )
                for one in spec["measures"]
            ),
            int(spec["rows"]),
            int(spec["clicks"]),
            float(spec["ctr"]),
            float(spec["confidence"]),
            (str(first), str(second)),
            (before, after),
            tuple(map(str, spec["notes"])),
            dict(spec["settings"]),
        )

    def page(self) -> Page:
        """Return the comparison as a page."""
        from nid_plugins.report.comparison_page import comparison_page

        return comparison_page(self)

    def __str__(self) -> str:
        head = (
            f"{self.names[0]} and {self.names[1]} on {self.rows:,} rows, {self.clicks:,} of them clicked; "
            f"changes with {self.confidence:.0%} intervals"
        )
        lines = [
            f"{one.name:<12} {one.before:.6f} -> {one.after:.6f}  {one.change:+.6f} [{one.low:+.6f}, {one.high:+.6f}]"
            f"  {one.verdict}".rstrip()
            for one in self.measures
        ]
        return "\n".join([head, *lines, *self.notes])

    def __repr__(self) -> str:
        return f"<ModelComparison: {self.rows} rows, log-loss {self['log_loss'].change:+.6f}, {self.verdict}>"


def _out(numbers: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}
