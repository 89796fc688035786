"""The explanation of one instance of a domain, and its JSON file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from nid_plugins.artefacts import Artefact, Kept
from nid_plugins.paths import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import pandas as pd


class Feature(NamedTuple):
    """A feature of an instance.

    Args:
        label: What it is called, e.g. a word.
        position: Which of the features it is, from 0.
    """

    label: str
    position: int

    def __str__(self) -> str:
        return f"{self.label} [{self.position}]"


@dataclass(frozen=True, slots=True)
class LocalInteraction:
    """Features of an instance that a model makes interact.

    Args:
        fields: The features, in the order of their positions.
        effect: What the target gains when all of them are on, beyond what each adds by itself: the coefficient of
            their product in the additive model, in logits.
        gain: Held-out R^2 the set added when it was chosen; NaN when sets were not chosen by gain.
        strength: The detector's own strength; NaN for a set that grew out of others.
    """

    fields: tuple[Feature, ...]
    effect: float
    gain: float = math.nan
    strength: float = math.nan

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the features."""
        return tuple(one.label for one in self.fields)

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the features, ascending."""
        return tuple(one.position for one in self.fields)

    def __str__(self) -> str:
        return " x ".join(self.labels)


@dataclass(frozen=True, eq=False)
class LocalExplanation(Kept):
    """What a model makes of one instance: main effects, and the interactions beyond them, best first.

    ``intercept + sum of the effects of the features that are on + sum of the effects of the sets that are wholly on``
    is the additive model of the target.

    Args:
        domain: Name of the domain.
        labels: What each feature is called, shape (p,).
        interactions: The ranking.
        effects: Main effect of each feature, shape (p,), in logits.
        intercept: The additive model with every feature off.
        logit: The target of the instance itself: the log-odds of the class, or the score.
        score: The model's score of the class for the instance, as the model gave it.
        target: The class explained.
        r2_linear: Held-out R^2 of a linear model; NaN where the model does not react.
        r2: Held-out R^2 of the additive model, interactions included.
        r2_detector: Held-out R^2 of the detector's own explainer; NaN when it fits none.
        unswitched: Positions of features that hold their off value already.
        clipped: How many of the model's answers the clip changed.
        queries: Instances the model was asked for.
        settings: Everything the result depends on but the model and the data.
        shown: What is needed to show the instance.
    """

    artefact: ClassVar[Artefact] = Artefact("nid-plugins/local-explanation", 1, "explanation", "an")

    domain: str
    labels: tuple[str, ...]
    interactions: tuple[LocalInteraction, ...]
    effects: tuple[float, ...]
    intercept: float
    logit: float
    score: float
    target: int
    r2_linear: float
    r2: float
    r2_detector: float
    unswitched: tuple[int, ...] = ()
    clipped: int = 0
    queries: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.interactions)

    def __iter__(self) -> Iterator[LocalInteraction]:
        return iter(self.interactions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalExplanation) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def top(self, k: int) -> list[tuple[str, ...]]:
        """Return the labels of the first k interactions."""
        return [one.labels for one in self.interactions[:k]]

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas frame, one row an interaction."""
        import pandas as pd

        return pd.DataFrame(
            {
                "rank": range(1, len(self) + 1),
                "interaction": [str(one) for one in self],
                "positions": [list(one.positions) for one in self],
                "order": [len(one.fields) for one in self],
                "effect": [one.effect for one in self],
                "gain": [one.gain for one in self],
                "strength": [one.strength for one in self],
            }
        )

    def _content(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "labels": list(self.labels),
            "interactions": [
                {
                    "fields": [list(one) for one in i.fields],
                    "effect": i.effect,
                    "gain": _out(i.gain),
                    "strength": _out(i.strength),
                }
                for i in self.interactions
            ],
            "effects": list(self.effects),
            **{name: _out(getattr(self, name)) for name in _NUMBERS},
            **{name: getattr(self, name) for name in _COUNTS},
            "unswitched": list(self.unswitched),
            "settings": _plain(self.settings),
            "shown": _plain(self.shown),
        }

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> Self:
        numbers: dict[str, Any] = {name: _in(spec[name]) for name in _NUMBERS}
        counts: dict[str, Any] = {name: int(spec[name]) for name in _COUNTS}
        return cls(
            domain=str(spec["domain"]),
            labels=tuple(map(str, spec["labels"])),
            interactions=tuple(
                LocalInteraction(
                    tuple(Feature(str(label), int(at)) for label, at in item["fields"]),
                    *(_in(item[name]) for name in ("effect", "gain", "strength")),
                )
                for item in spec["interactions"]
            ),
            effects=tuple(map(float, spec["effects"])),
            **numbers,
            **counts,
            unswitched=tuple(map(int, spec["unswitched"])),
            settings=dict(spec["settings"]),
            shown=dict(spec["shown"]),
        )

    def to_html(self, path: str | os.PathLike[str] | None = None, *, title: str | None = None) -> str:
        """Return a page of its own that shows the interactions on the instance; with a path, write it there too.

        Raises:
            ArtefactError: It cannot be written there.
            MissingExtraError: Jinja2 is not installed.
        """
        from nid_plugins.domains.drawing import page

        html: str = page(self, title).html()
        if path is not None:
            write_text(path, html, "the page")
        return html

    def _repr_html_(self) -> str:
        from nid_plugins.domains.drawing import fragment

        return fragment(self)

    def __str__(self) -> str:
        head = (
            f"{len(self)} interactions of {len(self.labels)} features for class {self.target} "
            f"(target {self.logit:+.3f}); held-out R^2 {self.r2:.3f}, linear alone {self.r2_linear:.3f}"
        )
        lines = [f"{one.effect:+9.3f}  gain {one.gain:.4f}  {one}" for one in self.interactions[:20]]
        return "\n".join([head, *lines])

    def __repr__(self) -> str:
        return f"LocalExplanation({self.domain!r}, {len(self.labels)} features, {len(self)} interactions)"


_NUMBERS = ("intercept", "logit", "score", "r2_linear", "r2", "r2_detector")
_COUNTS = ("target", "clipped", "queries")


def _out(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _in(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value, default=str))
