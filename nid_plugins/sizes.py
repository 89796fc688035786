"""Amounts of memory as people write them: a number of bytes, or text such as ``"512MB"``."""

from __future__ import annotations

import re

from nid_plugins.errors import SettingError

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def byte_count(value: int | str, name: str = "memory") -> int:
    """Return a number of bytes.

    Args:
        value: A positive integer, or text: a number and B, KB, MB, GB, TB (powers of 1,000) or KiB, MiB, GiB, TiB (powers
            of 1,024).
        name: What the option is called, for the error.

    Raises:
        SettingError: It is neither, or less than one byte.
    """
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str):
        found = _TEXT.fullmatch(value)
        unit = None if found is None else _UNITS.get(found.group(2).upper())
        if found is not None and unit is not None:
            size = int(float(found.group(1)) * unit)
    if size is None or size < 1:
        raise SettingError(
            f"{name} is not an amount of memory",
            received=repr(value),
            expected='a positive number of bytes, or text such as "512MB" or "2GiB"',
        )
    return size
