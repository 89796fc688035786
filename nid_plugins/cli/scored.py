"""Rows of a file with their clicks and a model's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.cli.inputs import read_encoder, read_frame
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def read_scored(data: Path, label: str, options: Mapping[str, Any], what: str) -> tuple[Any, Floats, Floats]:
    """Return a file's rows, their labels, shape (n,), and the model's logits of them, shape (n,).

    Args:
        data: The file.
        label: Its column of clicks.
        options: Of the command: ``model`` or ``logits``, and those of ``data_options`` and ``model_options``.
        what: What they are for, for messages.

    Raises:
        FrameError: The file cannot be read, does not fit, or lacks a column.
        SettingError: Neither ``model`` nor ``logits``, or both.
    """
    from nid_plugins.frames import numeric_column, read_label
    from nid_plugins.readers import read_raw

    check_scored(options, what)
    encoder = read_encoder(options["encoder"])
    frame = read_frame(data, encoder)
    table = frame if encoder is None else read_raw(data)
    for column in (label, options["logits"]):
        if column is not None and column not in table:
            raise FrameError(
                f"{data} has no such column", field=column, expected=f"one of {list(table.columns)}"
            )
    clicks = read_label(_numbers(table, label), {}, len(table))
    if options["logits"] is not None:
        return frame, clicks, numeric_column(options["logits"], _numbers(table, options["logits"]))
    from nid_plugins.cli.models import load_box

    box = load_box(
        options["model"],
        None if encoder is None else encoder.schema,
        inputs=options["inputs"],
        output=options["output"],
        allow_pickle=options["allow_pickle"],
    )
    return frame, clicks, box.logits(frame)


def check_scored(options: Mapping[str, Any], what: str) -> None:
    """Check that one model is given.

    Raises:
        SettingError: None is, or both are.
    """
    if (options["model"] is None) == (options["logits"] is None):
        raise SettingError(what, expected="either --model or --logits", hint="Give one of the two")


def _numbers(table: Any, column: str) -> Any:
    from nid_plugins.readers.columns import numbers_of

    return numbers_of(column, table[column].to_numpy())
