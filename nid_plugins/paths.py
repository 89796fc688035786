"""Paths as users give them."""

from __future__ import annotations

import os
from pathlib import Path

from nid_plugins.errors import SettingError


def as_path(value: object, what: str) -> Path:
    """Return a path.

    Args:
        value: What was given. A number is none, though the standard library opens it as a file descriptor.
        what: What it should be the path of, for the error, e.g. ``"a directory"``.

    Raises:
        SettingError: It is neither text nor a path.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise SettingError(f"not {what}", received=repr(value), expected="a path: a string or pathlib.Path")
    return Path(text)
