"""Sequences over an alphabet, such as DNA: letters replaced by a neutral symbol, a drawn letter or a background's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.detection.masks import Masks

OFF = ("random", "neutral", "background")


@dataclass(frozen=True, eq=False)
class Letters(Domain):
    """Letters of a string over a small alphabet. The model gets a list of strings of the instance's length.

    Args:
        alphabet: The letters, one character each.
        off: What an off letter becomes: ``"random"``, one of the other letters of the alphabet, each as likely, drawn
            anew for every mask (what the paper does); ``"neutral"``, the symbol ``neutral``; ``"background"``, the
            letter that ``background`` has there. By default ``"background"`` where one is given, else ``"random"``.
        neutral: The neutral symbol, which the model must know.
        background: A sequence of the instance's length.
    """

    alphabet: str = "ACGT"
    off: str | None = None
    neutral: str = "N"
    background: str | None = None
    name: ClassVar[str] = "sequence"

    def __post_init__(self) -> None:
        letters = self.alphabet
        if not isinstance(letters, str) or len(letters) < 2 or len(set(letters)) < len(letters):
            raise SettingError(
                "not an alphabet", received=repr(letters), expected="two or more different characters"
            )
        if self.off is not None and self.off not in OFF:
            raise SettingError("unknown off", received=repr(self.off), expected=f"one of {OFF}")
        if not isinstance(self.neutral, str) or len(self.neutral) != 1:
            raise SettingError(
                "neutral is not a symbol", received=repr(self.neutral), expected="one character"
            )
        if self.background is not None and not isinstance(self.background, str):
            raise SettingError(
                "the background is not a sequence",
                received=type(self.background).__name__,
                expected="a string of the instance's length",
            )
        if self.off == "background" and self.background is None:
            raise SettingError('off="background" needs a background', hint="Pass background=")
        if self.background is not None and self.off not in {None, "background"}:
            raise SettingError(
                "the background would not be used", received=f"off={self.off!r}", expected='"background"'
            )

    def features(self, instance: Any) -> Features:
        """Split a sequence into its letters.

        Raises:
            FrameError: Not a string, empty, with a letter outside the alphabet, or not as long as the background.
        """
        _check_letters(instance, self.alphabet + self.neutral, "the sequence")
        off = self.off or ("random" if self.background is None else "background")
        if off == "random":
            _check_letters(instance, self.alphabet, "the sequence")
            return _Drawn(instance, self.alphabet)
        if off == "neutral":
            return _Fixed(instance, self.neutral * len(instance))
        assert self.background is not None
        _check_letters(self.background, self.alphabet + self.neutral, "the background")
        if len(self.background) != len(instance):
            raise FrameError(
                "the background has another length",
                received=f"{len(self.background)} letters for a sequence of {len(instance)}",
                expected="as many letters",
            )
        return _Fixed(instance, self.background)


def _check_letters(text: Any, letters: str, what: str) -> None:
    if not isinstance(text, str):
        raise FrameError(f"{what} is not a string", received=type(text).__name__, expected="a string")
    if not text:
        raise FrameError(f"{what} is empty", expected="two letters or more")
    bad = next((k for k, letter in enumerate(text) if letter not in letters), None)
    if bad is not None:
        raise FrameError(
            f"{what} has a letter outside the alphabet",
            received=f"{text[bad]!r} at position {bad}",
            expected=f"one of {letters!r}",
            hint="Pass alphabet=",
        )


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _strings(codes: npt.NDArray[np.uint32]) -> list[str]:
    return [row.tobytes().decode("utf-32-le") for row in codes]


class _Fixed(Features):
    """Letters with a fixed off value each."""

    def __init__(self, sequence: str, off: str) -> None:
        self.labels = list(sequence)
        self.nbytes = 64 + 4 * len(sequence)
        self._on, self._off = _codes(sequence), _codes(off)

    def batch(self, on: Masks, rng: np.random.Generator) -> list[str]:
        """Return the sequences with their off letters replaced."""
        return _strings(np.where(on, self._on, self._off))

    def unswitched(self) -> npt.NDArray[np.bool_]:
        """Return the letters the background has too."""
        return np.asarray(self._on == self._off)

    def shown(self) -> dict[str, Any]:
        """Return the letters."""
        return {"kind": "text", "words": list(self.labels), "gaps": [""] * (len(self.labels) + 1)}


class _Drawn(Features):
    """Letters replaced by another letter of the alphabet, drawn for every mask."""

    drawn = True

    def __init__(self, sequence: str, alphabet: str) -> None:
        self.labels = list(sequence)
        self.nbytes = 64 + 4 * len(sequence)
        self._alphabet = _codes(alphabet)
        self._on = np.array([alphabet.index(letter) for letter in sequence])

    def batch(self, on: Masks, rng: np.random.Generator) -> list[str]:
        """Return the sequences with another letter in place of each off one."""
        size = len(self._alphabet)
        step = 1 + (rng.random(on.shape) * (size - 1)).astype(np.int64)
        index = np.where(on, self._on, (self._on + step) % size)
        return _strings(self._alphabet[index])

    def shown(self) -> dict[str, Any]:
        """Return the letters."""
        return {"kind": "text", "words": list(self.labels), "gaps": [""] * (len(self.labels) + 1)}
