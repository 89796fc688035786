"""Which crosses a model in training should be given: detect, fit, pick by held-out gain."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nid_plugins.adapting import positive
from nid_plugins.blackbox import wrap as wrap_model
from nid_plugins.callbacks.picking import Refits, by_screening, further_pairs, unions
from nid_plugins.crosses import fit_crosses
from nid_plugins.crosses.bins import check_bins
from nid_plugins.crosses.vocabulary import check_min_count
from nid_plugins.detection import detect as detect_interactions
from nid_plugins.detection.glider import checked_settings
from nid_plugins.errors import NidWarning, SettingError
from nid_plugins.frames import columns_of, read_label, read_matrix
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Output
    from nid_plugins.blackbox import BlackBox
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.offsets import Floats
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.report import InteractionReport

    Fitting = Callable[[CrossFeatures, Any], CrossFeatures | None]

How = Literal["screened", "refitted", ""]

DETECT: dict[str, Any] = {
    "detector": "least_squares",
    "options": None,
    "baseline": "mode",
    "instances": 300,
    "perturbations": 1500,
    "prune": "gain",
    "rank": "count",
    "min_gain": 1e-3,
    "candidates": 40,
}
"""Options of ``nid.detect`` where nothing else is asked for: seconds, not minutes, beside a training run."""

_DETECT = (*DETECT, "executor")
_SCREEN = ("folds", "l2", "main_effects", "greedy", "smaller_first", "errors")
_WRAP = ("output", "inputs", "batch_size", "epsilon", "adapter")
SCREEN_ROWS = 100_000
"""Most held-out rows that crosses are screened on; drawn once."""
TRIPLES = 60
"""Most triples tried that picked pairs make together."""
ENOUGH = 1_000
"""Held-out rows of the rarer class with which screening is certain of what matters."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how.

    Attributes:
        crosses: The crosses worth injecting, in the order picked; None when there is none.
        gains: Name of each to what it added when it was picked, in nats a row.
        how: ``"screened"`` on held-out rows, or ``"refitted"`` on training rows; empty when there are none.
        report: The interactions detected.
        screening: What each candidate adds on held-out rows; None when there was no candidate.
        output: What the model returns, as far as is known.
        reason: Why there are no crosses, for a sentence; empty when there are.
    """

    crosses: CrossFeatures | None
    gains: dict[str, float]
    how: How
    report: InteractionReport
    screening: ScreenReport | None
    output: Output
    reason: str = ""


class Chooser:
    """Detects a model's interactions, fits crosses of them, and picks those that help on held-out rows.

    See :class:`~nid_plugins.callbacks.injector.CrossInjector` for the arguments.
    """

    def __init__(
        self,
        schema: FeatureSchema | None,
        train: Any,
        label: Any,
        valid: Any,
        valid_label: Any,
        *,
        max_crosses: int,
        bins: int,
        min_count: float | None,
        candidates: int,
        pairs: int,
        detect: Mapping[str, Any] | None,
        screen: Mapping[str, Any] | None,
        wrap: Mapping[str, Any] | None,
        seed: int,
    ) -> None:
        if schema is not None and not isinstance(schema, FeatureSchema):
            raise SettingError(
                "not a schema",
                received=type(schema).__name__,
                expected="FeatureSchema, or None where the framework declares the fields",
            )
        self.schema = schema
        self._train, rows = _frame("train", train, schema)
        self._valid, held_out = _frame("valid", valid, schema)
        if valid_label is None and isinstance(label, str):
            valid_label = label
        if valid_label is None:
            raise SettingError(
                "valid_label is missing", expected="0/1 labels of the rows, or the name of their column"
            )
        self._valid_label = read_label(valid_label, self._valid, held_out)
        self._label = None if label is None else read_label(label, self._train, rows)
        self.seed = non_negative("seed", seed)
        self._max_crosses = positive("max_crosses", max_crosses)
        self._candidates = positive("candidates", candidates)
        self._pairs = non_negative("pairs", pairs)
        check_min_count(min_count, rows)
        self._fit: dict[str, Any] = {"bins": check_bins(bins), "min_count": min_count}
        self._detect = {**DETECT, **_options("detect", detect, _DETECT)}
        executor = {key: self._detect.pop(key) for key in ("executor",) if key in self._detect}
        checked_settings(**self._detect, top_k=self._candidates, seed=self.seed)
        self._detect |= executor
        self._screen = _options("screen", screen, _SCREEN)
        self.wrap = _options("wrap", wrap, _WRAP)

    def __call__(
        self,
        model: Any,
        box: BlackBox | None = None,
        *,
        fitting: Fitting | None = None,
        most: int | None = None,
    ) -> Choice:
        """Return what to inject into a model, which is left as it is.

        Args:
            model: The model.
            box: The same wrapped, where the caller has it.
            fitting: Called with the candidates and the training frame; returns them as they can be injected, or None.
            most: At most so many crosses, where ``max_crosses`` is not less.
        """
        if box is None:
            box = wrap_model(model, self.schema, **self.wrap)
        report = detect_interactions(
            box,
            self._valid,
            background=self._train,
            top_k=self._candidates,
            seed=self.seed,
            progress=False,
            **self._detect,
        )

        def nothing(reason: str, screening: ScreenReport | None = None) -> Choice:
            return Choice(None, {}, "", report, screening, box.output, reason)

        sets = [tuple(interaction.fields) for interaction in report]
        sets += further_pairs(sets, box.schema, self._pairs)
        if not sets:
            return nothing("the model shows no interactions")
        fitted = self._fitted(sets, box.schema, fitting)
        if fitted is None:
            return nothing(f"none of {len(sets)} candidates has room in the model")
        k = self._max_crosses if most is None else min(most, self._max_crosses)
        held_out = self._held_out(box)
        how, gains, screening = self._picked(fitted, held_out, k)
        triples = unions(
            [fitted.crosses[fitted.names.index(name)].fields for name in gains], box.schema, TRIPLES
        )
        if self._pairs and set(triples) - set(sets):
            wider = self._fitted(list(dict.fromkeys([*sets, *triples])), box.schema, fitting)
            if wider is not None:
                fitted = wider
                how, gains, screening = self._picked(fitted, held_out, k)
        if not gains:
            return nothing(f"none of {len(fitted)} candidates adds anything certain", screening)
        return Choice(fitted.select(list(gains)), gains, how, report, screening, box.output)

    def _fitted(
        self, sets: list[tuple[str, ...]], schema: FeatureSchema, fitting: Fitting | None
    ) -> CrossFeatures | None:
        """Return the candidates, as they can be injected."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NidWarning)  # of candidates that have no frequent combination
            fitted = fit_crosses(sets, self._train, schema, max_crosses=len(sets), **self._fit)
        return fitted if fitting is None else fitting(fitted, self._train)

    def _picked(
        self, fitted: CrossFeatures, held_out: _HeldOut, k: int
    ) -> tuple[How, dict[str, float], ScreenReport]:
        """Return how crosses were picked, those with their gains, and the screening."""
        frame = as_frame(held_out.rows, fitted.schema)
        screening, gains = by_screening(fitted, frame, held_out.label, held_out.logits, k, held_out.options)
        clicks = held_out.label.sum()
        if self._label is None or min(clicks, len(held_out.label) - clicks) >= ENOUGH:
            return "screened", gains, screening
        if self._label.min() == self._label.max():
            return "refitted", {}, screening
        rows = read_matrix(self._train, fitted.schema, missing=True, known_only=False)
        refits = Refits(fitted, rows, self._label, self.seed)
        picked = refits.pick(k)
        if picked:
            gain, error = refits.gain_on(list(picked), held_out.rows, held_out.label, held_out.logits)
            picked = picked if gain > -error else {}  # unless held-out rows speak against it
        return "refitted", picked, screening

    def _held_out(self, box: BlackBox) -> _HeldOut:
        """Return held-out rows to screen on, with labels, the model's logits, and the options of the screening."""
        rows, label = read_matrix(self._valid, box.schema), self._valid_label
        options = {"seed": self.seed, **self._screen}
        if len(rows) > SCREEN_ROWS:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(7,)))
            chosen = np.sort(rng.permutation(len(rows))[:SCREEN_ROWS])
            rows, label = rows[chosen], label[chosen]
            folds = options.get("folds", 5)
            if not isinstance(folds, int | np.integer):
                options["folds"] = np.asarray(folds)[chosen]
        return _HeldOut(rows, label, box.logits_of(rows), options)


@dataclass(frozen=True)
class _HeldOut:
    rows: FloatMatrix
    label: Floats
    logits: Floats
    options: dict[str, Any]


def as_frame(rows: FloatMatrix, schema: FeatureSchema) -> dict[str, Floats]:
    """Return rows of shape (n, p) as a frame."""
    return {name: rows[:, j] for j, name in enumerate(schema.names)}


def non_negative(option: str, value: object) -> int:
    """Return ``value`` as an int.

    Raises:
        SettingError: Not an integer of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise SettingError(f"{option} out of range", received=repr(value), expected="an integer from 0")
    return int(value)


def _frame(option: str, frame: Any, schema: FeatureSchema | None) -> tuple[Any, int]:
    """Return a frame, checked as far as can be, and its number of rows."""
    if frame is None:
        raise SettingError(f"{option} is missing", expected="a frame of the model's fields")
    if schema is not None:
        read_matrix(frame, schema, what=option, missing=option == "train", known_only=option != "train")
    return frame, len(next(iter(columns_of(frame).values()), ()))


def _options(option: str, given: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(
            f"{option} is no dict of options", received=repr(given), expected=f"keys of {known}"
        )
    unknown = [key for key in given or {} if key not in known]
    if unknown:
        raise SettingError(f"unknown option in {option}", received=unknown, expected=f"keys of {known}")
    return dict(given or {})
