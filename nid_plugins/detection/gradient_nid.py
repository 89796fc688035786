"""GradientNID: interactions as second derivatives of a smooth explainer (Tsang et al. 2020, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from nid_plugins.detection.detector import Explanation, rank_pairs
from nid_plugins.detection.networks import NetworkDetector
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.masks import Floats, MaskDesign


@dataclass(frozen=True)
class GradientNID(NetworkDetector):
    """Root mean squared mixed derivative of a softplus network, over the instance and random masks. Pairs only.

    The paper takes the derivative at the all-ones mask alone (``contexts=1``); the average over several masks is far
    less noisy.

    Args:
        contexts: Number of masks the derivative is averaged over, the instance itself among them.
        l1: Weight penalty, smaller than for reading weights.

    Other options: those of :class:`~nid_plugins.detection.networks.NetworkDetector`.
    """

    l1: float = 1e-4
    contexts: int = 32
    name: ClassVar[str] = "gradient_nid"
    activation: ClassVar[Literal["relu", "softplus"]] = "softplus"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.contexts, bool) or not isinstance(self.contexts, int) or self.contexts < 1:
            raise SettingError("contexts out of range", received=self.contexts, expected="a positive integer")

    def fit(
        self, state: MaskDesign, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Train the networks of all instances together and differentiate each at the contexts."""
        networks, scales, r2 = self.networks(state, targets, seeds)
        contexts = state.masks[: self.contexts].astype(np.float64)
        out = []
        for b, scale in enumerate(scales):
            weights = [w[b].astype(np.float64) for w in networks.weights]
            biases = [bias[b, 0].astype(np.float64) for bias in networks.biases]
            second = hessians(weights, biases, contexts) * scale
            strengths = np.sqrt((second**2).mean(axis=0))
            np.fill_diagonal(strengths, 0.0)
            sets, values = rank_pairs(strengths)
            out.append(Explanation(sets, values, float(r2[b]), strengths))
        return out


def hessians(weights: Sequence[Floats], biases: Sequence[Floats], points: Floats) -> Floats:
    """Return the input Hessians of one softplus network at points (n, p), shape (n, p, p).

    With J_l the Jacobian of layer l's pre-activations and u_l the output's derivative by its activations,
    ``H = sum_l J_l^T diag(u_l * softplus''(pre_l)) J_l``.
    """
    jacobians, slopes, curves = [], [], []
    h = points
    jacobian = np.broadcast_to(np.eye(points.shape[1]), (len(points), points.shape[1], points.shape[1]))
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        pre = h @ weight + bias
        slope = 1.0 / (1.0 + np.exp(-np.clip(pre, -60, 60)))
        jacobian = np.matmul(weight.T, jacobian)  # (n, units, p)
        jacobians.append(jacobian)
        slopes.append(slope)
        curves.append(slope * (1.0 - slope))
        jacobian = slope[:, :, None] * jacobian
        h = np.logaddexp(0.0, pre)
    upstream = np.broadcast_to(weights[-1][:, 0], (len(points), len(weights[-1])))
    total = np.zeros((len(points), points.shape[1], points.shape[1]))
    for layer in range(len(jacobians) - 1, -1, -1):
        scaled = (upstream * curves[layer])[:, :, None] * jacobians[layer]
        total += np.matmul(jacobians[layer].transpose(0, 2, 1), scaled)
        upstream = (upstream * slopes[layer]) @ weights[layer].T
    return total
