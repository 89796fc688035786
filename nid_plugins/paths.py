"""Paths as users give them, and text files written whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from nid_plugins.errors import ArtefactError, SettingError


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


def write_text(path: str | os.PathLike[str], text: str, what: str = "the file") -> None:
    """Write a file, whole or not at all.

    Args:
        path: The file.
        text: What goes into it.
        what: What it is, for errors, e.g. ``"the page"``.

    Raises:
        ArtefactError: It cannot be written there.
        SettingError: ``path`` is not a path.
    """
    target = as_path(path, "a file")
    if not target.name or target.is_dir():
        raise ArtefactError(
            f"{what} cannot be written: a folder has this name", received=str(target), hint="Name a file"
        )
    part = target.with_name(target.name + f".{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except (OSError, UnicodeError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ArtefactError(f"{what} cannot be written: {error}", received=str(target)) from error
