"""``nid ab design``: writes the plan of an experiment, checks it, and says how large the experiment must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.ab.outputs import check_outputs, output_options, tell
from nid_plugins.cli.inputs import FILE, check_writable, with_options
from nid_plugins.errors import ArtefactError, SettingError

if TYPE_CHECKING:
    from nid_plugins.experiment import Design, Sizing, Variant

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".gz")


@click.command("design", short_help="Write or check the plan, and say how large the test must be.")
@click.argument("path", type=FILE)
@click.option("--new", "name", metavar="NAME", help="Write a new plan of this name.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=WEIGHT[=MODEL]",
    help="A variant of the new plan, the control first.  [default: control=0.5 and treatment=0.5]",
)
@click.option("--unit", metavar="COLUMN", help="Column of the unit ids of the new plan.  [default: user_id]")
@click.option(
    "--mde", type=float, metavar="SHARE", help="Smallest relative change worth finding.  [default: 0.01]"
)
@click.option("--alpha", type=float, metavar="RATE", help="Two-sided false-positive rate.  [default: 0.05]")
@click.option("--power", type=float, metavar="CHANCE", help="Chance to find such a change.  [default: 0.8]")
@click.option(
    "--covariate", metavar="COLUMN", help="What takes variance out, such as the base model's prediction."
)
@click.option(
    "--logs", metavar="LOG", help="Past impressions of a sample of units, from which the size is worked out."
)
@click.option("--units-per-day", type=float, metavar="N", help="Units of a day, of the whole traffic.")
@click.option(
    "--days",
    type=int,
    metavar="N",
    help="Say what a test of so many days can find, instead of how long it takes.",
)
@click.option("--write", is_flag=True, help="Write the size into the plan; comments of your own are lost.")
@click.option(
    "--growthbook", type=FILE, metavar="OUT", help="Write the features payload of GrowthBook as JSON."
)
@with_options(output_options)
def design(
    path: Path,
    name: str | None,
    variants: tuple[str, ...],
    logs: str | None,
    units_per_day: float | None,
    days: int | None,
    covariate: str | None,
    write: bool,
    growthbook: Path | None,
    page: Path | None,
    data: Path | None,
    **options: Any,
) -> None:
    """Check the plan in PATH, a YAML or JSON file or the folder it is kept in, or write a --new one there.

    With --logs, the units and days it needs are worked out from past impressions. A LOG is a Parquet or CSV file, a folder of
    Parquet files, a pattern in quotes, or file.duckdb::table; with a column timestamp, days are counted off it.

    Change the file by hand afterwards: it explains itself.
    """
    from nid_plugins.experiment import Design

    check_outputs(page, data)
    if growthbook is not None:
        check_writable(growthbook)
    _check_options(
        name,
        variants,
        logs,
        options,
        units_per_day=units_per_day,
        days=days,
        write=write,
        covariate=None if name else covariate,
    )
    plan = Design.load(path) if name is None else _new(path, name, variants, covariate, options)
    if logs is not None:
        plan = replace(plan, sizing=_sizing(plan, logs, units_per_day, covariate, days))
    written = plan.save(_where(path)) if name is not None or write else None
    tell(plan, page, data)
    if growthbook is not None:
        _payload(plan, growthbook)
    if written is not None:
        click.echo(f"plan: {written}")


def _check_options(
    name: str | None, variants: tuple[str, ...], logs: str | None, options: dict[str, Any], **sizing: Any
) -> None:
    given = [f"--{key}" for key, value in options.items() if value is not None]
    given += ["--variant"] if variants else []
    if name is None and given:
        raise SettingError(
            "options of a new plan", received=", ".join(given), hint="Give --new NAME, or change the file"
        )
    idle = [f"--{key.replace('_', '-')}" for key, value in sizing.items() if value]
    if logs is None and idle:
        raise SettingError(
            "the size needs past impressions", received=", ".join(idle), hint="Give --logs LOG"
        )


def _new(
    path: Path, name: str, variants: tuple[str, ...], covariate: str | None, options: dict[str, Any]
) -> Design:
    from nid_plugins.experiment import Design, Guardrail, Metric

    target = path / "design.yaml" if path.is_dir() or not path.suffix else path
    if target.exists():
        raise ArtefactError(
            "a plan is there already", received=str(target), hint="Name another file, or remove it first"
        )
    given = {key: value for key, value in options.items() if value is not None}
    if variants:
        given["variants"] = tuple(_variant(text) for text in variants)
    return Design(
        name,
        primary=Metric.ctr(covariate=covariate),
        guardrails=(
            Guardrail(Metric.latency(0.95), "up", 0.1),
            Guardrail(Metric.calibration(), "either", 0.05),
        ),
        **given,
    )


def _variant(text: str) -> Variant:
    from nid_plugins.experiment import Variant

    name, _, rest = text.partition("=")
    weight, _, model = rest.partition("=")
    try:
        return Variant(name, float(weight), model)
    except ValueError as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(
            "not a variant", field="--variant", received=repr(text), expected="NAME=WEIGHT, such as base=0.5"
        ) from None


def _sizing(
    plan: Design, logs: str, units_per_day: float | None, covariate: str | None, days: int | None
) -> Sizing:
    from nid_plugins.experiment import size, size_of_effect
    from nid_plugins.readers import read_table

    table: Any = read_table(logs) if Path(logs).suffix.lower() in TEXT_ENDINGS else logs
    if days is None:
        return size(plan, table, units_per_day=units_per_day, covariate=covariate)
    return size_of_effect(plan, table, days=days, units_per_day=units_per_day, covariate=covariate)


def _where(path: Path) -> Path:
    """Return the file a plan was read from, or is to be written to."""
    if path.is_dir():
        found = [path / f"design{ending}" for ending in (".yaml", ".yml", ".json")]
        return next((file for file in found if file.is_file()), path)
    return path


def _payload(plan: Design, out: Path) -> None:
    import json

    from nid_plugins.experiment import growthbook_payload

    text = json.dumps(growthbook_payload(plan), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArtefactError(f"the payload cannot be written: {error}", received=str(out)) from error
    click.echo(f"GrowthBook's payload: {out}")
