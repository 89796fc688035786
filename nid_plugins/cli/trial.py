"""The trial of ``nid demo``: a model, what crosses make of it, and two controls, all trained and measured alike."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.cli.training import train
from nid_plugins.frames import read_matrix
from nid_plugins.metrics import auc, calibration, log_loss, row_losses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.cli.frameworks import Framework, Recipe
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.schema import FeatureSchema

LONGER_RATE = 1e-3
CROSS_RATE, CROSS_L2 = 1e-2, 0.1


@dataclass(frozen=True, eq=False)
class Arm:
    """A trained model and its logits of the test rows.

    Attributes:
        name: For tables.
        title: For sentences.
        model: The model.
        passes: Passes over the training rows it took.
        logit: Shape (n,).
        label: Clicks, shape (n,).
    """

    name: str
    title: str
    model: Any
    passes: int
    logit: npt.NDArray[np.float64]
    label: npt.NDArray[np.int64]

    def scores(self) -> dict[str, float]:
        """Return AUC, log-loss and predicted over observed click-through rate on the test rows."""
        return {
            "auc": auc(self.label, self.logit),
            "log_loss": log_loss(self.label, self.logit),
            "calibration": calibration(self.label, self.logit),
        }

    def change(self, base: Arm) -> tuple[float, float]:
        """Return the mean change in log-loss against another arm, row by row, and its standard error."""
        difference = row_losses(self.label, self.logit) - row_losses(self.label, base.logit)
        return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


class Trial:
    """Arms on the same rows: trained on the first part, stopped by the second, measured on the third.

    Args:
        framework: What models are built and trained with.
        frames: Training, validation and test frame.
        labels: Their clicks.
        schema: The fields.
        recipe: How the base is trained.
        seed: Of initial weights, the order of rows and the random crosses.
    """

    def __init__(
        self,
        framework: Framework,
        frames: Sequence[Mapping[str, npt.NDArray[Any]]],
        labels: Sequence[npt.NDArray[np.int64]],
        schema: FeatureSchema,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self._framework = framework
        self._frames = frames
        self._rows = [read_matrix(frame, schema) for frame in frames]
        self._labels = labels
        self._schema = schema
        self._recipe = recipe
        self._seed = seed

    def base(self) -> Arm:
        """Return a fresh DeepFM, trained."""
        model = self._framework.deepfm(self._schema, self._recipe, self._seed)
        return self._arm("DeepFM", "the DeepFM as it was", model, self._recipe, self._seed)

    def box(self, arm: Arm) -> BlackBox:
        """Return the model of an arm as a function from frames to logits."""
        import nid_plugins as nid

        return nid.wrap(arm.model, self._schema, output=self._framework.output)

    def longer(self, base: Arm) -> Arm:
        """Return the base trained once more, in smaller steps: what further training alone is worth."""
        recipe = dataclasses.replace(self._recipe, rate=min(self._recipe.rate, LONGER_RATE))
        return self._arm(
            "  trained on",
            "further training without crosses",
            self._framework.copied(base.model, self._schema, self._recipe),
            recipe,
            self._seed + 1,
        )

    def crossed(self, base: Arm, crosses: CrossFeatures, name: str) -> Arm:
        """Return the base with crosses injected and trained.

        The base is frozen: it is where it generalises best, and trained on along with the crosses it would leave that
        point before they have learned anything.
        """
        import nid_plugins as nid

        recipe = dataclasses.replace(self._recipe, rate=CROSS_RATE)
        target = nid.inject(
            base.model,
            crosses,
            output=self._framework.output,
            frozen=True,
            l2=CROSS_L2,
            seed=self._seed,
        )
        return self._arm(f"  + {name}", name, target, recipe, self._seed + 1)

    def random_crosses(self, count: int, bins: int) -> CrossFeatures:
        """Return crosses of ``count`` random pairs of fields, or of all pairs where there are fewer."""
        import nid_plugins as nid

        pairs = list(itertools.combinations(self._schema.names, 2))
        rng = np.random.default_rng([self._seed, 7])
        drawn = [pairs[i] for i in rng.permutation(len(pairs))[:count]]
        return nid.fit_crosses(drawn, self._frames[0], self._schema, bins=bins)

    def screened(self, box: BlackBox, crosses: CrossFeatures) -> tuple[ScreenReport, list[str]]:
        """Screen crosses on the validation rows on top of a model; return the report and the names of those worth injecting.

        These are the ones picked greedily whose gain is above its standard error.
        """
        import nid_plugins as nid

        frame, label = self._frames[1], self._labels[1]
        report = nid.screen(crosses, frame, label, box.logits(frame), greedy=True, seed=self._seed)
        return report, [cross.name for cross in report if cross.picked and cross.gain > cross.error]

    def _arm(self, name: str, title: str, model: Any, recipe: Recipe, seed: int) -> Arm:
        training, validation, test = self._rows
        fitting = self._framework.fitting(model, self._schema, training, self._labels[0], recipe)
        passes = train(
            fitting, len(training), (validation, self._labels[1]), recipe, seed=seed, title=name.strip()
        )
        return Arm(name, title, model, passes, fitting.logits(test), self._labels[2])
