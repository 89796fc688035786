"""MADEX (Tsang et al. 2020, section 3): perturb an instance, ask the model, fit an explainer, read its interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.baselines import check_background
from nid_plugins.detection.detector import Explanation, checked
from nid_plugins.detection.gain import GainSelector, Kept
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.detection.masks import Floats, MaskDesign, r_squared
from nid_plugins.detection.pruning import prune_local
from nid_plugins.errors import PluginError, SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.settings import DetectSettings

MEMORY = 256 * 1000**2
"""Most bytes of perturbed rows at once, unless said otherwise."""
PAIR_FIELDS = 200
"""Most fields for which the strengths of all pairs are kept in the report."""


class Madex:
    """Explains instances of one model with masks all of them share.

    Args:
        box: The model.
        background: Typical rows, shape (n, p), or None where the baseline needs none.
        settings: What was asked for.
        detector: Finds the interactions.
        baseline: Says what an off field holds.
        memory: Most bytes of perturbed rows, p float64 each, that are made at once.
        draw: Which draw of masks.

    Attributes:
        masks: The masks every instance is queried under, shape (M, p).
        step: Rows made at once: as many as the memory allows, whole batches of the model where it allows one.

    Raises:
        SettingError: The memory does not hold one row, or the baseline needs a background and none was given.
        PluginError: The detector made unusable masks.
    """

    def __init__(
        self,
        box: BlackBox,
        background: Floats | None,
        settings: DetectSettings,
        detector: Detector,
        baseline: Baseline,
        memory: int = MEMORY,
        draw: int = 0,
    ) -> None:
        p = len(box.schema)
        self.memory = memory
        self.draw = draw
        self.step = _rows_within(memory, p, box.batch_size)
        self.box = box
        self.settings = settings
        self.detector = detector
        self.baseline = baseline
        self.background = check_background(baseline, background, p)
        rng = np.random.default_rng(self._seed(0, draw))
        self.masks = np.asarray(detector.masks(p, settings.perturbations, rng), dtype=bool)
        self._check_masks(p)
        self._random = detector.random_rows(self.masks)
        self._upper = np.triu_indices(p, 1)
        self._state = detector.prepare(self.masks)
        own = getattr(self._state, "design", None)
        if isinstance(own, MaskDesign) and own.masks is self.masks and self._random == len(self.masks):
            self._design = own  # what the detector works out of the same masks serves here too
        else:
            self._design = MaskDesign(self.masks[: self._random])
        self._selector = GainSelector(self._design, limit=settings.candidates, min_gain=settings.min_gain)

    def redrawn(self, draw: int) -> Madex:
        """Return the same with other masks."""
        given = (self.box, self.background, self.settings, self.detector, self.baseline)
        return Madex(*given, self.memory, draw)

    def _check_masks(self, p: int) -> None:
        if self.masks.ndim != 2 or self.masks.shape[1] != p or not self.masks[0].all():
            raise PluginError(
                f"the detector {self.detector.name!r} made unusable masks",
                received=f"shape {self.masks.shape}",
                expected=f"(M, {p}), the first row all on",
            )

    def _seed(self, purpose: int, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.settings.seed, spawn_key=(purpose, index))

    def off_values(self, index: int) -> Floats:
        """Return what the off fields of an instance hold, shape (p,).

        Raises:
            PluginError: The baseline returned something else.
        """
        rng = np.random.default_rng(self._seed(1, index))
        values = np.asarray(self.baseline.values(self.background, self.box.schema, rng), dtype=np.float64)
        p = len(self.box.schema)
        if values.shape != (p,) or not np.isfinite(values).all():
            raise PluginError(
                f"the baseline {self.baseline.name!r} returned unusable values",
                received=f"shape {values.shape}",
                expected=f"finite values of shape ({p},)",
            )
        return values

    def query(self, row: Floats, off: Floats) -> tuple[Floats, int]:
        """Return the logits of one instance under all masks, shape (M,), and how many of them were clipped."""
        before = self.box.saturated
        masks, step = self.masks, self.step
        if len(masks) <= step:
            logits = self.baseline.query(self.box, row, off, masks)
        else:
            parts = [masks[start : start + step] for start in range(0, len(masks), step)]
            logits = np.concatenate([self.baseline.query(self.box, row, off, part) for part in parts])
        if logits.shape != (len(self.masks),) or not np.isfinite(logits).all():
            raise PluginError(
                f"the baseline {self.baseline.name!r} returned unusable logits",
                received=f"shape {logits.shape}",
                expected=f"finite values of shape ({len(self.masks)},)",
            )
        return logits, self.box.saturated - before

    def explain(
        self,
        targets: Floats,
        indices: Sequence[int],
        clipped: Sequence[int],
        unswitched: Sequence[npt.NDArray[np.bool_]],
    ) -> list[InstanceResult]:
        """Return what each instance of a batch contributes.

        Args:
            targets: Logits, shape (B, M).
            indices: Positions of the instances, which seed their explainers.
            clipped: Clipped predictions of each.
            unswitched: For each, the fields that hold their off value, shape (p,): sets with one of them are noise.

        Raises:
            PluginError: The detector broke its contract.
        """
        explanations = self.detector.fit(self._state, targets, [self._seed(2, i) for i in indices])
        if len(explanations) != len(targets):
            raise PluginError(
                f"the detector {self.detector.name!r} returned {len(explanations)} explanations",
                expected=f"{len(targets)}, one an instance",
            )
        explanations = [
            checked(self.detector.name, *pair) for pair in zip(explanations, unswitched, strict=True)
        ]
        random = targets[:, : self._random]
        residuals = self._design.residuals(random)
        if self.settings.prune == "gain" or any(np.isnan(found.r2) for found in explanations):
            kept = self._selector.select_all(random, explanations, residuals)
        else:
            test = self._design.test
            r2_linear = r_squared(random[:, test], residuals[:, test]).tolist()
            kept = [
                Kept([], [], [], *pair) for pair in zip(r2_linear, (f.r2 for f in explanations), strict=True)
            ]
        return [self._result(index, kept[b], explanations[b], clipped[b]) for b, index in enumerate(indices)]

    def _result(self, index: int, kept: Kept, found: Explanation, clipped: int) -> InstanceResult:
        if self.settings.prune == "gain":
            sets, strengths, gains = kept.sets, kept.strengths, kept.gains
        else:
            everything = [
                m for m in found.sets if len(m) < self.masks.shape[1] or self.settings.prune == "none"
            ]
            sets = prune_local(everything) if self.settings.prune == "paper" else everything[:100]
            strength_of = dict(zip(found.sets, found.strengths.tolist(), strict=True))
            strengths, gains = [strength_of[m] for m in sets], [float("nan")] * len(sets)
        r2 = kept.r2 if np.isnan(found.r2) else found.r2
        pairs = None
        if found.pairs is not None and len(found.pairs) <= PAIR_FIELDS:
            pairs = found.pairs[self._upper].astype(np.float32)
        return InstanceResult(index, sets, strengths, gains, float(r2), kept.r2_linear, pairs, clipped)


def _rows_within(memory: int, fields: int, batch: int) -> int:
    row = 8 * fields
    if memory < row:
        raise SettingError(
            "the memory does not hold one perturbed row",
            received=f"memory={memory}",
            expected=f"at least {row} bytes: {fields} fields of 8 bytes",
        )
    rows = memory // row
    # A batch cut short costs a call, and a model may round otherwise in it.
    return rows if rows < batch else rows // batch * batch
