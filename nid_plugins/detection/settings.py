"""The settings of a detection, checked once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from nid_plugins.detection.masks import MIN_ROWS
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.masks import Floats

Prune = Literal["gain", "paper", "none"]
Rank = Literal["count", "gain", "strength"]
RANKS: Final = get_args(Rank)
DEFAULT_DETECTOR = "least_squares"
AUTO: Final = "auto"
"""Instances are explained until the ranking is settled."""
LARGE_GROUP = 32
"""Most instances whose explainers are fitted as one batch, which has one set of masks."""


@dataclass(slots=True)
class DetectSettings:
    """What :func:`nid_plugins.detect` was asked for; see there for the meaning."""

    detector: str
    options: dict[str, Any]
    baseline: str
    instances: int | Literal["auto"]
    perturbations: int
    top_k: int
    seed: int
    prune: Prune
    rank: Rank
    min_gain: float
    candidates: int
    redraw: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("instances", 1), ("top_k", 1), ("perturbations", MIN_ROWS), ("candidates", 1)):
            value = getattr(self, name)
            if name == "instances" and value == AUTO:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(
                    f"{name} out of range",
                    received=repr(value),
                    expected=f"an integer of at least {least}"
                    + (', or "auto"' if name == "instances" else ""),
                )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise SettingError(
                "seed out of range", received=repr(self.seed), expected="a non-negative integer"
            )
        if self.prune not in ("gain", "paper", "none"):
            raise SettingError(
                "unknown prune", received=repr(self.prune), expected='"gain", "paper" or "none"'
            )
        if self.rank not in RANKS:
            raise SettingError(
                "unknown rank", received=repr(self.rank), expected='"count", "gain" or "strength"'
            )
        if self.rank == "gain" and self.prune != "gain":
            raise SettingError(
                "sets can be ranked by gain only where they were chosen by gain",
                received=f'rank="gain", prune={self.prune!r}',
                expected='prune="gain", or rank="count" or "strength"',
            )
        redraw = self.redraw
        if redraw is not None and (
            isinstance(redraw, bool)
            or not isinstance(redraw, int)
            or redraw < LARGE_GROUP
            or redraw % LARGE_GROUP
        ):
            raise SettingError(
                "redraw out of range",
                received=repr(redraw),
                expected=f"None, or a multiple of {LARGE_GROUP}: as many instances are explained at a time",
            )
        if not isinstance(self.min_gain, int | float) or not 0 <= self.min_gain < 1:
            raise SettingError(
                "min_gain out of range", received=repr(self.min_gain), expected="0 <= min_gain < 1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings JSON-ready."""
        return asdict(self)


@dataclass(slots=True)
class DetectRequest:
    """A detection about to start, as the hook ``nid_before_detect`` sees it.

    Args:
        box: The wrapped model.
        rows: Where the instances are drawn from, shape (n, p), columns in schema order.
        settings: What was asked for.
    """

    box: BlackBox
    rows: Floats = field(repr=False)
    settings: DetectSettings
