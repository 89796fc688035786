"""Checks of single options of an experiment: each returns the value in its own type, or says what to write."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from nid_plugins.errors import SettingError

T = TypeVar("T")


def text(value: object, field: str, what: str, *, empty: bool = False) -> str:
    """Return text that can be written to a file and read back unchanged.

    Args:
        value: What was given.
        field: Name of the option, for the error.
        what: What it should be, for the error, e.g. ``"the name of a column"``.
        empty: Whether empty text is allowed.

    Raises:
        SettingError: Not text, empty, with blanks around it, or with characters that no file keeps.
    """
    if not isinstance(value, str):
        raise SettingError(
            "not text", field=field, received=f"{type(value).__name__} {value!r}", expected=what
        )
    # Subclasses such as NumPy's would not survive YAML.
    plain = str(value)
    if not plain and not empty:
        raise SettingError("empty", field=field, expected=what)
    if plain != plain.strip() and not empty:
        raise SettingError(
            "blanks around the text", field=field, received=repr(plain), expected=what, hint="Remove them"
        )
    bad = next((c for c in plain if _unkept(c)), None)
    if bad is not None:
        raise SettingError(
            "a character that cannot be kept in a file",
            field=field,
            received=ascii(bad),
            expected=f"{what}, of printable characters",
        )
    return plain


def _unkept(character: str) -> bool:
    # Control characters, lone surrogates and what YAML reads as the end of a line come back changed or not at all.
    code = ord(character)
    return (
        (code < 0x20 and character not in "\n\t")
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or code in {0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF}
    )


def number(
    value: object,
    field: str,
    expected: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_in: bool = False,
    high_in: bool = False,
) -> float:
    """Return a finite float between two bounds.

    Args:
        value: What was given: any real number but a bool.
        field: Name of the option, for the error.
        expected: What it should be, for the error.
        low: Lower bound.
        high: Upper bound.
        low_in: Whether the lower bound is allowed itself.
        high_in: Whether the upper bound is allowed itself.

    Raises:
        SettingError: Not a finite number, or out of bounds.
    """
    import numbers

    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SettingError(
            "not a number", field=field, received=f"{type(value).__name__} {value!r}", expected=expected
        )
    try:
        plain = float(value)
    except OverflowError:
        plain = math.inf
    above = plain >= low if low_in else plain > low
    below = plain <= high if high_in else plain < high
    if not math.isfinite(plain) or not (above and below):
        raise SettingError("out of its domain", field=field, received=repr(plain), expected=expected)
    return plain


def whole(value: object, field: str, expected: str, *, low: int) -> int:
    """Return an int that is at least ``low``.

    Raises:
        SettingError: Not an integer, or below the bound.
    """
    import numbers

    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise SettingError(
            "not a whole number", field=field, received=f"{type(value).__name__} {value!r}", expected=expected
        )
    if value < low:
        raise SettingError("out of its domain", field=field, received=int(value), expected=expected)
    return int(value)


def choice(value: object, field: str, options: Sequence[str]) -> str:
    """Return one of some words.

    Raises:
        SettingError: Another one; the nearest is named.
    """
    if isinstance(value, str) and value in options:
        return str(value)
    raise SettingError(
        "unknown value",
        field=field,
        received=repr(value),
        expected=f"one of {', '.join(options)}",
        hint=near(value, options),
    )


def near(word: object, options: Sequence[str]) -> str | None:
    """Return ``"Did you mean ...?"`` for a word that is close to one of the options, else None."""
    close = difflib.get_close_matches(str(word), list(options), n=1)
    return f"Did you mean {close[0]!r}?" if close else None


def items(value: object, field: str, kind: type[T]) -> tuple[T, ...]:
    """Return a sequence of objects of one class as a tuple.

    Raises:
        SettingError: Not a sequence, or something else in it.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise SettingError(
            "not a sequence",
            field=field,
            received=type(value).__name__,
            expected=f"a tuple of {kind.__name__}",
        )
    for position, item in enumerate(value):
        instance(item, f"{field}[{position}]", kind)
    return tuple(value)


def instance(value: object, field: str, kind: type[Any]) -> None:
    """Check the class of an object.

    Raises:
        SettingError: Another class.
    """
    if not isinstance(value, kind):
        raise SettingError(
            "the wrong kind of object",
            field=field,
            received=f"{type(value).__name__} {value!r}"[:200],
            expected=f"nid.experiment.{kind.__name__}(...)"
            if kind.__module__.startswith("nid_plugins.")
            else f"a {kind.__name__}",
        )


def unique(names: Sequence[str], field: str, what: str) -> None:
    """Check that no name occurs twice.

    Raises:
        SettingError: One does.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingError(
            f"two {what} have the same name", field=field, received=repr(twice), hint="Rename one"
        )


def known_keys(
    spec: Mapping[str, Any], field: str, keys: Sequence[str], required: Sequence[str] = ()
) -> None:
    """Check the keys of a mapping.

    Args:
        spec: The mapping.
        field: Its key path, empty for the top of the file.
        keys: Those it may have.
        required: Those it must have.

    Raises:
        SettingError: One is unknown, or is missing; the key path is named.
    """
    for key in spec:
        if key not in keys:
            raise SettingError(
                "unknown key",
                field=path(field, key),
                expected=f"one of {', '.join(keys)}",
                hint=near(key, keys),
            )
    for key in required:
        if key not in spec:
            raise SettingError("missing key", field=path(field, key), expected=f"a line {key}: ...")


def path(field: str, key: object) -> str:
    """Return the path of a key within a part of a file, such as ``primary.name``."""
    return f"{field}.{key}" if field else str(key)
