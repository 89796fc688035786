"""``nid cross``: cross features of a report's interactions, fitted on a training file or on files larger than memory."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, data_options, read_encoder, read_frame, read_schema, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.readers import Encoder


@click.command("cross")
@click.argument("report", type=FILE)
@click.option(
    "--train",
    required=True,
    multiple=True,
    metavar="FILE",
    help="Training rows: bins and vocabularies come from them. A Parquet folder or pattern may be larger than memory; "
    "give it several times for several.",
)
@click.option("--out", type=FILE, required=True, metavar="DIR", help="Folder to write the crosses to.")
@click.option("--max-crosses", type=int, default=40, show_default=True, help="Most crosses to make.")
@click.option("--bins", type=int, default=100, show_default=True, help="Most bins of a dense field.")
@click.option(
    "--min-count",
    type=float,
    help="Keep combinations seen more often than this.  [default: 1e-4 of the rows, at least 2]",
)
@click.option(
    "--ids", type=FILE, metavar="DIR", help="New folder to write the training rows' cross ids to, as Parquet."
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="With --ids, a column to write too, or 'all'.")
@click.option("--memory", default="2GB", show_default=True, help="For counting rows of Parquet files.")
@with_options(data_options)
def cross(
    report: Path,
    train: tuple[str, ...],
    out: Path,
    max_crosses: int,
    bins: int,
    min_count: float | None,
    ids: Path | None,
    keep: tuple[str, ...],
    memory: str,
    schema: Path | None,
    encoder: Path | None,
) -> None:
    """Make cross features of the interactions in REPORT, which nid detect wrote."""
    from rich.console import Console

    import nid_plugins as nid
    from nid_plugins.cli import story

    found = nid.InteractionReport.load(report)
    rows = _rows(train, read_encoder(encoder), streamed=ids is not None)
    crosses = nid.fit_crosses(
        found,
        rows,
        read_schema(schema) or found.schema,
        max_crosses=max_crosses,
        bins=bins,
        min_count=min_count,
        memory=memory,
    )
    crosses.save(out)
    covered = _covered(crosses, rows, memory)
    shown = story.table("cross", "fields", "combinations", "rows covered", right=(2, 3))
    for one, share in zip(crosses.crosses, covered, strict=True):
        shown.add_row(one.name, ", ".join(one.fields), f"{one.vocabulary:,}", f"{share:.1%}")
    console = Console(highlight=False)
    console.print(shown)
    console.print(f"crosses: {out}", soft_wrap=True)
    if ids is not None:
        crosses.transform(rows, out=ids, keep="all" if "all" in keep else keep, memory=memory)
        console.print(f"ids: {ids}", soft_wrap=True)


def _rows(train: Sequence[str], encoder: Encoder | None, *, streamed: bool) -> Any:
    """Return training rows as a frame, or as paths of Parquet files to be read bit by bit."""
    from nid_plugins.crosses.sources import ENDINGS
    from nid_plugins.errors import SettingError

    several = (
        len(train) > 1
        or Path(train[0]).is_dir()
        or (glob.has_magic(train[0]) and not Path(train[0]).exists())
    )
    if encoder is None and (several or Path(train[0]).suffix.lower() in ENDINGS):
        return list(train)
    if several or streamed:
        raise SettingError(
            "only Parquet files of ids and numbers are read bit by bit",
            received=f"--train {' '.join(train)}" + ("" if encoder is None else " with --encoder"),
            expected="one file" if several else "Parquet files",
            hint="Code the rows first and write them as Parquet",
        )
    return read_frame(Path(train[0]), encoder)


def _covered(crosses: CrossFeatures, rows: Any, memory: str) -> Any:
    """Return the share of rows with an id, of each cross."""
    if not isinstance(rows, list):
        return (crosses.transform(rows) > 0).mean(axis=0)
    from nid_plugins.crosses.files_out import coverage_of_files

    return coverage_of_files(crosses, rows, memory)
