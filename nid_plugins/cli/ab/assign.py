"""``nid ab assign``: who gets which variant, for services that do not use the router."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, check_writable
from nid_plugins.errors import ArtefactError, FrameError, SettingError

if TYPE_CHECKING:
    import pandas as pd

    from nid_plugins.experiment import Design

ENDINGS = (".csv", ".parquet")


@click.command("assign", short_help="Say which variant each unit gets.")
@click.argument("design", type=FILE)
@click.argument("ids", type=FILE)
@click.option("--column", metavar="COLUMN", help="Column of the ids.  [default: the design's unit]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="OUT",
    help="CSV or Parquet to write unit, variant and bucket to, a row for each of IDS; - prints CSV.",
)
def assign(design: Path, ids: Path, column: str | None, out: Path | None) -> None:
    """Say which variant of the plan in DESIGN each unit in the file IDS gets, and count them.

    IDS is a CSV, TSV, Parquet or Feather file. Text is taken as it stands, so that 007 and 7 are two units. A unit that is not
    in the experiment has an empty variant. The assignment is that of the router, and of GrowthBook's kits.
    """
    from nid_plugins.experiment import Design
    from nid_plugins.experiment.assignment import OUT, assigned
    from nid_plugins.experiment.units import read_units
    from nid_plugins.readers import read_raw

    _check_out(out)
    plan = Design.load(design)
    table = read_raw(ids)
    name = column or plan.unit
    if name not in table.columns:
        raise FrameError(
            "the file has no such column",
            field=name,
            received=f"columns {', '.join(map(str, table.columns))}",
            hint="Name the column of the ids with --column",
        )
    variants, buckets = assigned(plan, read_units(table[name], name))
    names: list[str | None] = [variant.name for variant in plan.variants]
    found = table[[name]].set_axis(["unit"], axis=1)
    found["variant"] = [None if index == OUT else names[index] for index in variants.tolist()]
    found["bucket"] = buckets
    if out is not None and str(out) == "-":
        click.echo(found.to_csv(index=False), nl=False)
        return
    _count(plan, found)
    if out is not None:
        _write(found, out)
        click.echo(f"assignment: {out}")


def _check_out(out: Path | None) -> None:
    if out is None or str(out) == "-":
        return
    if out.suffix.lower() not in ENDINGS:
        raise SettingError(
            "unknown ending", field="--out", received=str(out), expected=f"one of {', '.join(ENDINGS)}"
        )
    check_writable(out)


def _write(found: pd.DataFrame, out: Path) -> None:
    try:
        if out.suffix.lower() == ".csv":
            found.to_csv(out, index=False)
        else:
            found.to_parquet(out, index=False)
    except (OSError, ImportError) as error:
        raise ArtefactError(f"the assignment cannot be written: {error}", received=str(out)) from error


def _count(plan: Design, found: pd.DataFrame) -> None:
    from rich.console import Console

    from nid_plugins.cli import story

    units = found.drop_duplicates("unit")
    inside = units[units["variant"].notna()]
    counts: dict[Any, int] = inside["variant"].value_counts().to_dict()
    shown = story.table("variant", "weight", "units", "share", right=(1, 2, 3))
    for variant, share in zip(plan.variants, plan.shares, strict=True):
        n = counts.get(variant.name, 0)
        shown.add_row(
            variant.name, f"{share:.2%}", f"{n:,}", f"{n / len(inside):.2%}" if len(inside) else "-"
        )
    console = Console(highlight=False)
    console.print(shown)
    console.print(f"{len(units):,} units, {len(units) - len(inside):,} of them not in the experiment")
    if len(units) < len(found):
        console.print(f"{len(found) - len(units):,} rows name a unit again; it gets the same variant")
