"""Values as people read them, the same in the terminal and on a page."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

UNKNOWN = "-"
"""What stands where nothing is known: for None and NaN."""
TONES = {"": "", "good": "green", "bad": "red", "open": "yellow", "muted": "dim"}
"""What a mark may mean, and its style in a terminal."""
_UNPRINTABLE = {"Cc", "Cs", "Co", "Cn"}
_DIRECTION = set(range(0x202A, 0x202F)) | set(range(0x2066, 0x206A))  # they reorder the text around them


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with a meaning that a colour underlines, such as a verdict.

    Args:
        text: The word; it must be enough without the colour.
        tone: One of ``TONES``.
    """

    text: str
    tone: str = ""


def clean(text: str) -> str:
    """Return text in which nothing steers a terminal or a page: control characters become U+FFFD, line ends blanks."""
    if text.isprintable():
        return text
    return "".join(
        " "
        if one in "\n\r\t"
        else "\ufffd"
        if unicodedata.category(one) in _UNPRINTABLE or ord(one) in _DIRECTION
        else one
        for one in text
    )


def show(value: object, spec: str = "") -> str:
    """Return a value as text.

    Args:
        value: Text, a number, a truth value, a time, a mark, several of them, or None.
        spec: Format of numbers, as :func:`format` takes it, e.g. ``"+.1%"``.
    """
    if isinstance(value, list | tuple):
        return ", ".join(show(one, spec) for one in value) if value else UNKNOWN
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = as_number(value)
    if number is not None:
        return _show_number(value, number, spec)
    text = value.text if isinstance(value, Mark) else value
    return UNKNOWN if text is None else clean(str(text))


def _show_number(value: Any, number: float, spec: str) -> str:
    if math.isnan(number):
        return UNKNOWN
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return format(value, spec or ("," if number.is_integer() else ".4g"))


def as_number(value: object) -> float | None:
    """Return a number of any kind as a float, or None for what is none."""
    if isinstance(value, str | bytes | bool) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def sort_key(value: object) -> str | None:
    """Return what a cell is sorted by where that is not its text: the bare number; ``""``, the last, for what is unknown."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return repr(value.timestamp())
    number = as_number(value)
    if number is None:
        return None
    return "" if math.isnan(number) else repr(number).replace("inf", "Infinity")
