"""Checks of the options that say how a model takes a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nid_plugins.errors import SettingError

Inputs = str | Callable[..., Any]
"""How a model takes a batch; see :func:`nid_plugins.wrap`."""


def check_inputs(inputs: Inputs) -> Inputs:
    """Return ``inputs``.

    Raises:
        SettingError: It is none of the known ways. ``"auto"`` is for the adapter to resolve before.
    """
    if not callable(inputs) and inputs not in ("positional", "matrix", "mapping"):
        raise SettingError(
            "unknown way of passing inputs",
            received=repr(inputs),
            expected='"auto", "positional", "matrix", "mapping" or a callable from a dict of columns to (args, kwargs)',
        )
    return inputs


def check_extract(inputs: Inputs, extract: object) -> None:
    """Check ``extract``, which finds the members of the crosses in a model's own inputs.

    Raises:
        SettingError: It is needed, because ``inputs`` is a callable, and not given; or it is not callable.
    """
    if callable(inputs) and extract is None:
        raise SettingError(
            "with a callable for inputs, extract= is needed",
            received="extract=None",
            expected="a function of the model's arguments that returns a dict of field name to tensor",
            hint="It is what finds the members of the crosses in the model's inputs",
        )
    if extract is not None and not callable(extract):
        raise SettingError(
            "extract is not callable", received=repr(extract), expected="a function of the model's arguments"
        )
