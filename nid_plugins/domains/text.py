"""Text: words, or the tokens of any tokenizer, left out or replaced by a mask token."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    import numpy as np

    from nid_plugins.detection.masks import Masks

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
"""A word: letters and digits, apostrophes and hyphens inside."""


@dataclass(frozen=True, eq=False)
class Text(Domain):
    """Words or tokens of a text.

    The model gets a list of texts; for an instance that is a list of tokens, a list of lists of tokens. Where the
    tokens stand in the text as they are, everything between them is kept, so that the whole text is the instance to
    the letter; other tokens, such as word pieces, are joined again with ``join``.

    Args:
        tokenizer: From a text to its tokens: a callable, or an object with ``tokenize`` as Hugging Face's have. Words
            without the punctuation around them when left out.
        mask: What stands for an off token, e.g. ``"[MASK]"``; None leaves it out.
        join: From tokens to a text, for tokens that do not stand in the text. By default the tokenizer's
            ``convert_tokens_to_string``, else blanks between them.
    """

    tokenizer: Any = None
    mask: str | None = None
    join: Callable[[list[str]], str] | None = None
    name: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.mask is not None and not isinstance(self.mask, str):
            raise SettingError("mask is not a token", received=repr(self.mask), expected="a string or None")
        if self.tokenizer is not None and not (
            callable(self.tokenizer) or callable(getattr(self.tokenizer, "tokenize", None))
        ):
            raise SettingError(
                "not a tokenizer",
                received=type(self.tokenizer).__name__,
                expected="a callable from a text to its tokens, or an object with tokenize",
            )
        if self.join is not None and not callable(self.join):
            raise SettingError(
                "join is not callable", received=repr(self.join), expected="a function from tokens to a text"
            )

    def features(self, instance: Any) -> Features:
        """Split a text.

        Raises:
            FrameError: Neither a text nor a list of tokens, or no token in it.
        """
        if isinstance(instance, str):
            return self._of_text(instance)
        if isinstance(instance, Sequence) and not isinstance(instance, bytes | bytearray):
            tokens = _tokens(instance, "the instance")
            return _Tokens(tokens, self.mask, None)
        raise FrameError(
            "not a text", received=type(instance).__name__, expected="a string or a list of tokens"
        )

    def _of_text(self, text: str) -> Features:
        if self.tokenizer is None:
            spans = [match.span() for match in WORD.finditer(text)]
            if not spans:
                raise FrameError(
                    "the text has no words",
                    received=repr(text[:60]),
                    expected="two words or more",
                    hint="Pass tokenizer= for a script or a text without words, e.g. tokenizer=list",
                )
            return _Words(text, spans, self.mask)
        tokenize = getattr(self.tokenizer, "tokenize", self.tokenizer)
        try:
            found = tokenize(text)
        except Exception as error:
            raise SettingError(
                f"the tokenizer raised {type(error).__name__}: {error}", received=repr(text[:60])
            ) from error
        tokens = _tokens(found, "the tokenizer's answer")
        spans = [] if self.join is not None else _located(text, tokens)
        if spans:
            return _Words(text, spans, self.mask)
        join = self.join or getattr(self.tokenizer, "convert_tokens_to_string", None) or " ".join
        return _Tokens(tokens, self.mask, join)


def _tokens(found: Any, what: str) -> list[str]:
    tokens = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else None
    if tokens is None or not all(isinstance(token, str) for token in tokens):
        raise FrameError(
            f"{what} is not a list of tokens",
            received=f"{type(found).__name__}: {found!r:.80}",
            expected="a list of strings",
        )
    if not tokens:
        raise FrameError(f"{what} has no tokens", received="an empty list", expected="two tokens or more")
    return tokens


def _located(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the tokens stand in the text, or nothing when one does not."""
    spans, start = [], 0
    for token in tokens:
        at = text.find(token, start)
        if at < 0 or not token:
            return []
        spans.append((at, at + len(token)))
        start = at + len(token)
    # A word found again beyond its own place would swallow what it did not split: only blanks and marks may be left.
    between = [
        text[a:b]
        for a, b in zip([0, *(e for _, e in spans)], [*(s for s, _ in spans), len(text)], strict=True)
    ]
    return [] if any(WORD.search(gap) for gap in between) else spans


class _Words(Features):
    """Spans of a text; what stands between them is kept."""

    def __init__(self, text: str, spans: Sequence[tuple[int, int]], mask: str | None) -> None:
        ends = [0, *(end for _, end in spans)]
        self.labels = [text[start:end] for start, end in spans]
        self.gaps = [text[ends[k] : start] for k, (start, _) in enumerate(spans)]
        self.tail = text[ends[-1] :]
        self.mask = mask
        self.nbytes = 64 + 4 * len(text)

    def batch(self, on: Masks, rng: np.random.Generator) -> list[str]:
        """Return the texts with their off words left out or masked."""
        return [self._one(row) for row in on]

    def _one(self, on: Any) -> str:
        parts = []
        for label, gap, kept in zip(self.labels, self.gaps, on, strict=True):
            if kept:
                parts += [gap, label]
            elif self.mask is not None:
                parts += [gap, self.mask]
            else:
                parts.append(gap.rstrip())  # the blank goes with its word, a comma stays
        text = "".join([*parts, self.tail])
        return text if on.all() else text.strip()

    def shown(self) -> dict[str, Any]:
        """Return the words and what stands between them."""
        return {"kind": "text", "words": list(self.labels), "gaps": [*self.gaps, self.tail]}


class _Tokens(Features):
    """Tokens without a place in a text; ``join`` None leaves them a list."""

    def __init__(self, tokens: list[str], mask: str | None, join: Callable[[list[str]], str] | None) -> None:
        self.labels = tokens
        self.mask = mask
        self.join = join
        self.nbytes = 64 + 64 * len(tokens)

    def batch(self, on: Masks, rng: np.random.Generator) -> list[Any]:
        """Return lists of tokens, or the texts they are joined to."""
        rows = [self._one(row) for row in on]
        return rows if self.join is None else [self.join(row) for row in rows]

    def _one(self, on: Any) -> list[str]:
        if self.mask is None:
            return [token for token, kept in zip(self.labels, on, strict=True) if kept]
        return [token if kept else self.mask for token, kept in zip(self.labels, on, strict=True)]

    def shown(self) -> dict[str, Any]:
        """Return the tokens, blanks between them."""
        return {"kind": "text", "words": list(self.labels), "gaps": ["", *[" "] * (len(self.labels) - 1), ""]}
