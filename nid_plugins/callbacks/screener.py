"""What the crosses of a ranking would add to the model as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.callbacks.sample import columns
from nid_plugins.crosses import fit_crosses, screen

if TYPE_CHECKING:
    from nid_plugins.blackbox import BlackBox
    from nid_plugins.callbacks.sample import Sample
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.report import InteractionReport


class Screener:
    """Screens the top crosses of a check on top of the model's logits.

    Args:
        box: The model.
        sample: The rows.
        most: Crosses to screen.
        seed: Of the folds.
    """

    def __init__(self, box: BlackBox, sample: Sample, most: int, seed: int) -> None:
        self._box = box
        self._sample = sample
        self._most = most
        self._seed = seed
        self._fitted: tuple[list[tuple[str, ...]], CrossFeatures] | None = None

    @property
    def possible(self) -> bool:
        """Whether there are labels to screen with, and crosses are wanted."""
        return self._most > 0 and self._sample.labels is not None

    def gains(self, report: InteractionReport) -> dict[str, float]:
        """Return cross name to held-out gain in nats a row, best first; empty where nothing was found.

        Raises:
            SettingError: No combination of any cross is frequent enough in the background.
            FrameError: All labels are equal.
            ModelError: The model failed.
        """
        sets = report.top(self._most)
        rows, labels, schema = self._sample.screening, self._sample.labels, self._box.schema
        if not sets or rows is None or labels is None:
            return {}
        if self._fitted is None or self._fitted[0] != sets:
            self._fitted = (sets, fit_crosses(sets, columns(self._sample.background, schema), schema))
        crosses = self._fitted[1]
        found = screen(crosses, columns(rows, schema), labels, self._box.logits_of(rows), seed=self._seed)
        return {cross.name: cross.gain for cross in found}
