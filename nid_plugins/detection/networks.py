"""What detectors that fit small networks to the logits have in common: their options and the fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from nid_plugins.detection.detector import Detector, rounding
from nid_plugins.detection.masks import Floats, MaskDesign, Masks, r_squared
from nid_plugins.detection.mlp import Networks, Samples, Training, train
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class NetworkDetector(Detector):
    """Base of detectors that fit one network an instance to its logits under masks; a subclass reads them in ``fit``.

    Args:
        linear: Fit the main effects first, in closed form, and the network on what they leave. Without it main effects
            leak into spurious interactions.
        hidden: Units of the hidden layers.
        l1: Weight penalty.
        learning_rate: Adam's.
        batch: Rows a step. None: 200, or fewer with few masks, so that a pass over the masks has 24 steps or more.
        epochs: Most passes.
        patience: Passes without improvement before stopping.

    Attributes:
        activation: Of the hidden units, ``"relu"`` or ``"softplus"``.
    """

    linear: bool = True
    hidden: tuple[int, ...] = (64, 32)
    l1: float = 1e-3
    learning_rate: float = 5e-3
    batch: int | None = None
    epochs: int = 100
    patience: int = 5
    activation: ClassVar[Literal["relu", "softplus"]] = "relu"

    def __post_init__(self) -> None:
        if not isinstance(self.linear, bool):
            raise SettingError("linear is a switch", received=repr(self.linear), expected="True or False")
        _ = self.training  # checks the options now, not after the first queries

    @property
    def training(self) -> Training:
        """How the networks are trained."""
        return Training(
            tuple(self.hidden) if isinstance(self.hidden, list | tuple) else (),
            self.activation,
            self.l1,
            self.learning_rate,
            self.batch,
            self.epochs,
            self.patience,
        )

    def prepare(self, masks: Masks) -> MaskDesign:
        """Build the regression design for the main effects."""
        return MaskDesign(masks)

    def networks(
        self, design: MaskDesign, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> tuple[Networks, Floats, Floats]:
        """Return :func:`fit_networks` with the options of this detector."""
        return fit_networks(design, targets, self.training, seeds, linear=self.linear)


def fit_networks(
    design: MaskDesign,
    targets: Floats,
    training: Training,
    seeds: Sequence[np.random.SeedSequence],
    *,
    linear: bool,
) -> tuple[Networks, Floats, Floats]:
    """Standardise targets (or what main effects leave of them) and train one network an instance.

    Returns:
        The networks, the factor that takes their output back to logits (0 where there is nothing to fit), and the
        held-out R^2 of the whole explainer, main effects included; both of shape (B,).
    """
    rest = design.residuals(targets) if linear else targets
    centre = rest[:, design.train].mean(axis=1, keepdims=True)
    scales = rest[:, design.train].std(axis=1)
    # Residuals of a purely additive or a constant model are rounding; a network fitted to them would only invent sets.
    scales[scales < np.maximum(1e-6 * targets.std(axis=1), rounding(targets))] = 0.0
    standard = (rest - centre) / np.where(scales > 0, scales, 1.0)[:, None]
    standard[scales == 0] = 0.0
    some = np.flatnonzero(scales > 0)
    widths = (design.masks.shape[1], *training.hidden, 1)
    networks = Networks.initial(widths, training.activation, [np.random.default_rng(0)] * len(targets))
    if len(some):
        samples = Samples(design.masks.astype(np.float32), design.train, design.valid)
        fitted, _ = train(samples, standard[some], training, [seeds[int(b)] for b in some])
        networks.flat[some] = fitted.flat
    test = design.test
    predicted = networks.forward(design.masks[test].astype(np.float32))[0]
    errors = np.where(
        scales[:, None] > 0, (standard[:, test] - predicted) * scales[:, None], rest[:, test] - centre
    )
    return networks, scales, r_squared(targets[:, test], errors)
