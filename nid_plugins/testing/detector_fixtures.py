"""What the tests of a detector share: models whose interactions are known, asked as users ask them."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import nid_plugins as nid
from nid_plugins.detection.masks import MIN_ROWS, random_masks
from nid_plugins.errors import NidWarning
from nid_plugins.plugins import use_manager
from nid_plugins.testing.detector_case import DetectorCase
from nid_plugins.testing.manager import manager_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nid_plugins.detection import Detector, Explanation
    from nid_plugins.detection.masks import Floats, Masks
    from nid_plugins.plugins import PluginManager

NAMES = tuple("abcdefgh")
PAIRS = (("a", "b"), ("c", "d"), ("a", "e"))
TRIPLE = ("f", "g", "h")

Columns = dict[str, npt.NDArray[Any]]


class Asked:
    """A black box that counts the rows it is asked for.

    Args:
        kind: ``"pairs"``, ``"triple"``, ``"additive"`` or ``"constant"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows = 0

    def __call__(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Return logits, shape (n,), in float32 as models do."""
        self.rows += len(columns["a"])
        c = {name: np.asarray(column, dtype=np.float32) for name, column in columns.items()}
        if self.kind == "constant":
            return np.full(len(c["a"]), -1.5, dtype=np.float32)
        logit = 0.7 * c["a"] - 0.4 * c["b"] + 0.3 * (c["c"] == 1) + 0.5 * (c["e"] > 1) - 0.2 * c["g"] - 1.0
        if self.kind == "pairs":
            logit += 1.5 * c["a"] * c["b"]
            logit += 1.2 * ((c["c"] + c["d"]) % 2)  # neither field alone says anything
            logit += 0.8 * (c["a"] > 0) * (c["e"] > 0)
        if self.kind == "triple":
            logit += 2.0 * c["f"] * c["g"] * c["h"]
        return np.asarray(logit, dtype=np.float32)


@functools.cache
def rows() -> Columns:
    """Return rows of eight fields: ``c``, ``d`` and ``e`` hold ids, ``f``, ``g`` and ``h`` a sign, ``a`` and ``b`` numbers."""
    rng = np.random.default_rng(11)
    frame: Columns = {name: rng.normal(size=300) for name in NAMES}
    frame.update({name: rng.integers(0, 4, 300) for name in "cde"})
    frame.update({name: rng.choice([-1.0, 1.0], 300) for name in "fgh"})
    return frame


def schema() -> nid.FeatureSchema:
    """Return the fields of :func:`rows`."""
    return nid.FeatureSchema(
        nid.SparseField(name, 4) if name in "cde" else nid.DenseField(name) for name in NAMES
    )


def seeds(count: int, first: int = 0) -> list[np.random.SeedSequence]:
    """Return seeds of instances."""
    return [np.random.SeedSequence(7, spawn_key=(2, first + i)) for i in range(count)]


def logits_on(masks: Masks) -> Floats:
    """Return logits of five instances under masks (M, p), shape (5, M): what each makes interact is known.

    The first two have a strong and a weaker pair, the third is additive, the fourth constant, the fifth has a pair that
    acts without either field alone.
    """
    z = masks.astype(np.float64)
    w = z - 0.5
    p = masks.shape[1]
    main = z @ np.random.default_rng(5).normal(size=p)
    last = p - 1
    return np.stack(
        [
            main + 2.0 * z[:, 0] * z[:, 1] + 1.0 * z[:, 0] * z[:, last],
            0.5 * main - 1.5 * z[:, 1] * z[:, last] + 0.8 * z[:, 0] * z[:, 1],
            main,
            np.full(len(z), -2.0),
            3.0 * w[:, 0] * w[:, last],
        ]
    )


class DetectorFixtures(DetectorCase):
    """The suite without its tests."""

    @pytest.fixture(autouse=True)
    def _manager(self) -> Iterator[None]:
        with use_manager(self.manager()), warnings.catch_warnings():
            # Of poor fits and of models that do not react, which the suite has on purpose.
            warnings.simplefilter("ignore", NidWarning)
            yield

    def manager(self) -> PluginManager:
        """Return the plug-in manager: with all that is installed, and this plug-in if it is not."""
        return manager_with("detector", self.detector, self.plugin)

    def registered(self) -> Detector:
        """Return the detector, with the options the suite uses."""
        return self.manager().detector(self.detector).configured(**self.options)

    def detected(self, kind: str, **settings: Any) -> nid.InteractionReport:
        """Return the report of a model whose interactions are known."""
        found: dict[str, Any] = {
            "detector": self.detector,
            "options": dict(self.options),
            "background": rows(),
            "instances": self.instances,
            "perturbations": self.perturbations,
            "top_k": 10,
            "seed": 3,
            "progress": False,
        }
        return nid.detect(nid.wrap(Asked(kind), schema(), output="logit"), rows(), **{**found, **settings})

    def ready(self, fields: int) -> tuple[Detector, Masks, Any]:
        """Return the detector, masks of it and its state."""
        detector = self.registered()
        masks = np.asarray(detector.masks(fields, self.perturbations, np.random.default_rng(1)))
        return detector, masks, detector.prepare(masks.copy())

    def alike(self, one: Explanation, other: Explanation) -> None:
        """See that two explanations are the same up to rounding, sets that are nearly as strong in either order."""
        own, others = (strong(found) for found in (one, other))
        assert set(own) == set(others), "other sets"
        for members, strength in own.items():
            assert abs(strength - others[members]) <= self.tolerance * strength, members


def strong(found: Explanation) -> dict[tuple[int, ...], float]:
    """Return the sets of at least a tenth of the largest strength, with their strengths."""
    strengths = dict(zip(found.sets, np.asarray(found.strengths).tolist(), strict=True))
    least = 0.1 * max(strengths.values(), default=0.0)
    return {
        members: strength for members, strength in strengths.items() if strength > 0 and strength >= least
    }


def few_masks(fields: int) -> Masks:
    """Return as few masks as a detection can have."""
    return random_masks(fields, MIN_ROWS, np.random.default_rng(0))
