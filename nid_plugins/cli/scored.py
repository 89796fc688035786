"""Rows of a file with their clicks and a model's logits, or two models'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import read_encoder, read_frame, read_schema
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.comparison import ModelComparison
    from nid_plugins.readers import Encoder

    Floats = npt.NDArray[np.float64]

after_options: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--after",
        metavar="MODEL",
        help="package.module:factory of the model after, such as one with crosses.",
    ),
    click.option("--after-logits", metavar="COLUMN", help="Column of its logits, instead of --after."),
    click.option(
        "--kept",
        type=float,
        metavar="SHARE",
        help="Share of the rows without a click that the log kept, where it was down-sampled.",
    ),
    click.option(
        "--weights", metavar="COLUMN", help="Column of how many rows each row stands for, instead of --kept."
    ),
    click.option(
        "--units",
        metavar="COLUMN",
        help="Column of who a row belongs to: rows of one user are not independent.",
    ),
)


@dataclass(frozen=True)
class Rows:
    """Rows of a file.

    Args:
        path: The file.
        frame: Its rows as models take them.
        table: Its columns as they are.
        clicks: Labels, shape (n,).
        encoder: Coding of its raw values, if there is one.
    """

    path: Path
    frame: Any
    table: Any
    clicks: Floats
    encoder: Encoder | None

    @classmethod
    def read(cls, path: Path, label: str, options: Mapping[str, Any]) -> Rows:
        """Read a file.

        Args:
            path: The file.
            label: Its column of clicks.
            options: Of the command: those of ``data_options``.

        Raises:
            FrameError: The file cannot be read, does not fit, or lacks the column.
        """
        from nid_plugins.frames import read_label
        from nid_plugins.readers import read_raw

        encoder = read_encoder(options["encoder"])
        frame = read_frame(path, encoder)
        table = frame if encoder is None else read_raw(path)
        clicks = read_label(_numbers(table, label, path), {}, len(table))
        return cls(path, frame, table, clicks, encoder)

    def column(self, name: str) -> Any:
        """Return a column as it is, shape (n,).

        Raises:
            FrameError: There is none of this name.
        """
        return _column(self.table, name, self.path)

    def numbers(self, name: str) -> Any:
        """Return a column of numbers, shape (n,).

        Raises:
            FrameError: There is none of this name.
        """
        return _numbers(self.table, name, self.path)

    def logits(self, model: str | None, column: str | None, options: Mapping[str, Any]) -> Floats:
        """Return the logits of a model, or those of a column, shape (n,).

        Raises:
            FrameError: The rows do not fit the model, there is no such column, or it holds no logits.
            ModelError: The model failed.
        """
        if column is not None:
            from nid_plugins.scores import as_logits

            return as_logits(self.numbers(column), output=options["output"], what=column)
        from nid_plugins.cli.models import load_box

        schema = read_schema(options.get("schema")) or (None if self.encoder is None else self.encoder.schema)
        box = load_box(
            str(model),
            schema,
            inputs=options["inputs"],
            output=options["output"],
            allow_pickle=options["allow_pickle"],
        )
        return box.logits(self.frame)


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
    check_scored(options, what)
    rows = Rows.read(data, label, options)
    return rows.frame, rows.clicks, rows.logits(options["model"], options["logits"], options)


def compared(rows: Rows, before: Floats, options: Mapping[str, Any]) -> ModelComparison:
    """Return the comparison of a model with the one after.

    Args:
        rows: The rows.
        before: The first model's logits of them, shape (n,).
        options: Of the command: ``model`` or ``logits``, those of ``after_options``, ``data_options`` and
            ``model_options``.

    Raises:
        FrameError: A column is absent or does not fit, or the rows do not allow a comparison.
        SettingError: An option is out of its domain.
    """
    import nid_plugins as nid

    after = rows.logits(options["after"], options["after_logits"], options)
    first, second = (
        f"column {column}" if model is None else model
        for model, column in (
            (options["model"], options["logits"]),
            (options["after"], options["after_logits"]),
        )
    )
    return nid.compare(
        rows.clicks,
        before,
        after,
        output="logit",
        weights=None if options["weights"] is None else rows.numbers(options["weights"]),
        kept=options["kept"],
        units=None if options["units"] is None else rows.column(options["units"]),
        names=(first, second),
    )


def check_scored(options: Mapping[str, Any], what: str) -> None:
    """Check that one model is given.

    Raises:
        SettingError: None is, or both are.
    """
    if (options["model"] is None) == (options["logits"] is None):
        raise SettingError(what, expected="either --model or --logits", hint="Give one of the two")


def check_after(options: Mapping[str, Any]) -> bool:
    """Return whether there is a model after, and check that there are not two.

    Raises:
        SettingError: Both ``--after`` and ``--after-logits``, or weights, units or a share kept and neither.
    """
    given = [f"--{name.replace('_', '-')}" for name in ("after", "after_logits") if options[name] is not None]
    if len(given) == 2:
        raise SettingError(
            "two models after", expected="either --after or --after-logits", hint="Give one of the two"
        )
    extra = [f"--{name}" for name in ("kept", "weights", "units") if options[name] is not None]
    if extra and not given:
        raise SettingError(
            "these are for a comparison with a model after",
            received=", ".join(extra),
            expected="--after or --after-logits with them",
        )
    return bool(given)


def _column(table: Any, name: str, path: Path) -> Any:
    if name not in table:
        raise FrameError(f"{path} has no such column", field=name, expected=f"one of {list(table.columns)}")
    return table[name].to_numpy()


def _numbers(table: Any, name: str, path: Path) -> Any:
    from nid_plugins.readers.columns import numbers_of

    return numbers_of(name, _column(table, name, path))
