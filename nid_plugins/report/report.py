"""The report of a detection: a ranking of interactions with what is needed to trust it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SchemaError
from nid_plugins.report import store
from nid_plugins.report.shown import Shown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from nid_plugins.comparison import ModelComparison
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.report.page import Page
    from nid_plugins.schema import FeatureSchema


@dataclass(frozen=True, slots=True)
class Interaction:
    """A set of fields a model makes interact.

    Args:
        fields: Names, in schema order.
        count: Number of instances it was found in; 0 for some pairs of a ranking by strength.
        share: Count over instances.
        strength: Mean over those instances of the detector's strength, over all instances where the count is 0. For
            ``least_squares``, ``archdetect`` and ``gradient_nid`` the size of the set's discrete difference of the logit.
        gain: Mean over those instances of the held-out R^2 the set added; NaN when sets were not chosen by gain.
        stability: Share of bootstrap resamples of the instances in which it is in the top K; NaN for one instance.
    """

    fields: tuple[str, ...]
    count: int
    share: float
    strength: float
    gain: float = math.nan
    stability: float = math.nan

    def __str__(self) -> str:
        return " x ".join(self.fields)


@dataclass(eq=False)
class InteractionReport(Shown):
    """Interactions ranked by count, then strength, or as ``rank=`` of :func:`nid_plugins.detect` has it.

    Args:
        interactions: The ranking, best first.
        schema: Fields of the model.
        settings: Everything the result depends on but the model and the data.
        r2: Held-out R^2 of each instance's explainer, shape (N,); NaN where the model does not react at all.
        r2_linear: The same of its main effects alone, shape (N,).
        kept: Number of sets each instance contributed, shape (N,).
        unswitched: For each field the share of instances holding its off value, in which it cannot interact.
        pair_strengths: Mean strength of every pair over the instances, shape (p, p), or None.
    """

    interactions: list[Interaction]
    schema: FeatureSchema
    settings: dict[str, Any] = field(default_factory=dict)
    r2: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    r2_linear: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    kept: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    unswitched: dict[str, float] = field(default_factory=dict)
    pair_strengths: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.interactions)

    def __iter__(self) -> Iterator[Interaction]:
        return iter(self.interactions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InteractionReport) and store.to_dict(self) == store.to_dict(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def instances(self) -> int:
        """Number of instances explained."""
        return len(self.r2)

    def top(self, k: int) -> list[tuple[str, ...]]:
        """Return the field sets of the first k interactions."""
        return [i.fields for i in self.interactions[:k]]

    def pair_strength(self, a: str, b: str) -> float:
        """Return the mean strength of a pair over all instances, found or not.

        Raises:
            SchemaError: No such field, or the report holds no pair strengths.
        """
        i, j = self.schema.index_of(a), self.schema.index_of(b)
        if self.pair_strengths is None:
            raise SchemaError(
                "the report holds no pair strengths", expected="a detector that gives them, <= 200 fields"
            )
        return float(self.pair_strengths[i, j])

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas frame, one row an interaction."""
        import pandas as pd

        return pd.DataFrame(
            {
                "rank": range(1, len(self) + 1),
                "interaction": [str(i) for i in self],
                "fields": [list(i.fields) for i in self],
                "order": [len(i.fields) for i in self],
                "count": [i.count for i in self],
                "share": [i.share for i in self],
                "strength": [i.strength for i in self],
                "gain": [i.gain for i in self],
                "stability": [i.stability for i in self],
            }
        )

    def fit_summary(self) -> dict[str, float]:
        """Return median and 10 % quantile of the explainers' held-out R^2, and the median of main effects alone."""
        known = self.r2[~np.isnan(self.r2)]
        linear = self.r2_linear[~np.isnan(self.r2_linear)]
        return {
            "r2_median": float(np.median(known)) if len(known) else math.nan,
            "r2_p10": float(np.quantile(known, 0.1)) if len(known) else math.nan,
            "r2_linear_median": float(np.median(linear)) if len(linear) else math.nan,
        }

    def __str__(self) -> str:
        fit = self.fit_summary()
        head = (
            f"{len(self)} interactions from {self.instances} instances; explainer R^2 median {fit['r2_median']:.3f} "
            f"(main effects alone {fit['r2_linear_median']:.3f})"
        )
        if not self.interactions:
            return head
        frame = self.to_frame()[["rank", "interaction", "count", "share", "strength", "gain", "stability"]]
        return head + "\n" + frame.to_string(index=False, float_format=lambda v: f"{v:.3f}", max_rows=40)

    def __repr__(self) -> str:
        return f"<InteractionReport: {len(self)} interactions, {self.instances} instances>"

    def page(self, **shown: Any) -> Page:
        """Return the report as a page; see :func:`nid_plugins.report.interactions.interactions_page` for what it takes."""
        from nid_plugins.report.interactions import interactions_page

        return interactions_page(self, **shown)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        screening: ScreenReport | None = None,
        crosses: CrossFeatures | None = None,
        frame: Any = None,
        label: Any = None,
        logits: npt.ArrayLike | None = None,
        before_after: ModelComparison | Mapping[str, tuple[float, float]] | None = None,
    ) -> str | None:
        """Write the report as one HTML file that needs no network, or return its text where no file is named.

        Args:
            path: The file; None to return the text.
            screening: What ``nid.screen`` returned; its gains join the ranking.
            crosses: Crosses whose strongest combinations are shown, with CTR observed and predicted; needs the next
                three.
            frame: Rows, n of them, best ones the model was not trained on.
            label: Their 0/1 labels, shape (n,), or the name of the frame's column.
            logits: The model's logits of them, shape (n,).
            before_after: The model without and with crosses on the same rows: what :func:`nid_plugins.compare`
                returned, or measures of one's own, such as ``{"auc": (0.781, 0.789)}``.

        Raises:
            ArtefactError: It cannot be written there.
            FrameError: The rows do not fit the crosses.
            MissingExtraError: Jinja2 is not installed.
            SettingError: An argument is not what it should be, or crosses without rows.
        """
        page = self.page(
            screening=screening,
            crosses=crosses,
            frame=frame,
            label=label,
            logits=logits,
            before_after=before_after,
        )
        if path is None:
            return page.html()
        page.save(path)
        return None

    def plot(self, kind: str = "ranking", *, top: int = 20, ax: Axes | None = None) -> Axes:
        """Draw the report with matplotlib; ``report.plot().figure.savefig("ranking.png")`` keeps the picture.

        Args:
            kind: ``"ranking"``, the best interactions by the share of instances they were found in, or ``"map"``, the
                strength of every pair of fields.
            top: Most interactions, or of a map most fields: those that interact most.
            ax: Axes to draw on; None for a figure of its own, which pyplot does not know of.

        Raises:
            MissingExtraError: matplotlib is not installed.
            SettingError: An argument is not what it should be.
        """
        from nid_plugins.report.plot import plot

        return plot(self, kind, top=top, ax=ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON.

        Raises:
            ArtefactError: The file cannot be written.
            SettingError: ``path`` is not a path.
        """
        store.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InteractionReport:
        """Read a report :meth:`save` wrote.

        Raises:
            ArtefactError: The file is absent, damaged, not a report, or written by a newer version.
            SettingError: ``path`` is not a path.
        """
        return store.load(path)
