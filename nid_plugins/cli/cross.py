"""``nid cross``: cross features of a report's interactions, fitted on a training file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nid_plugins.cli.inputs import FILE, data_options, read_encoder, read_frame, read_schema, with_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("cross")
@click.argument("report", type=FILE)
@click.option(
    "--train",
    type=FILE,
    required=True,
    metavar="FILE",
    help="Training rows: bins and vocabularies come from them.",
)
@click.option("--out", type=FILE, required=True, metavar="DIR", help="Folder to write the crosses to.")
@click.option("--max-crosses", type=int, default=40, show_default=True, help="Most crosses to make.")
@click.option("--bins", type=int, default=100, show_default=True, help="Most bins of a dense field.")
@click.option(
    "--min-count",
    type=float,
    help="Keep combinations seen more often than this.  [default: 1e-4 of the rows, at least 2]",
)
@with_options(data_options)
def cross(
    report: Path,
    train: Path,
    out: Path,
    max_crosses: int,
    bins: int,
    min_count: float | None,
    schema: Path | None,
    encoder: Path | None,
) -> None:
    """Make cross features of the interactions in REPORT, which nid detect wrote."""
    from rich.console import Console

    import nid_plugins as nid
    from nid_plugins.cli import story

    found = nid.InteractionReport.load(report)
    frame = read_frame(train, read_encoder(encoder))
    crosses = nid.fit_crosses(
        found,
        frame,
        read_schema(schema) or found.schema,
        max_crosses=max_crosses,
        bins=bins,
        min_count=min_count,
    )
    crosses.save(out)
    covered = (crosses.transform(frame) > 0).mean(axis=0)
    shown = story.table("cross", "fields", "combinations", "rows covered", right=(2, 3))
    for one, share in zip(crosses.crosses, covered, strict=True):
        shown.add_row(one.name, ", ".join(one.fields), f"{one.vocabulary:,}", f"{share:.1%}")
    console = Console(highlight=False)
    console.print(shown)
    console.print(f"crosses: {out}", soft_wrap=True)
