"""``nid demo``: the whole way on one page, on simulated clicks whose interactions are known or on a file of real ones."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.frameworks import FRAMEWORKS
from nid_plugins.cli.inputs import check_writable
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.console import Console

    from nid_plugins.cli.frameworks import Framework, Recipe
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.readers import Encoder
    from nid_plugins.schema import FeatureSchema
    from nid_plugins.simulate import SimulatedLog

SIMULATED_ROWS = 80_000


@dataclass(frozen=True, eq=False)
class Parts:
    """A log in three parts: training, validation, test.

    Attributes:
        frames: Their frames.
        labels: Their clicks.
        schema: The fields.
        truth: The simulated parts, of a simulated log.
        encoder: The coding, of a log that was read.
    """

    frames: list[dict[str, npt.NDArray[Any]]]
    labels: list[npt.NDArray[np.int64]]
    schema: FeatureSchema
    truth: list[SimulatedLog] | None = None
    encoder: Encoder | None = None


@click.command("demo")
@click.option(
    "--framework",
    type=click.Choice(list(FRAMEWORKS)),
    default="deepctr-torch",
    show_default=True,
    help="What the DeepFM is a model of.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    help=f"Rows to simulate ({SIMULATED_ROWS}), or to read at most (all).",
)
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE", help="Use a click log instead of a simulation."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["criteo", "csv"]),
    default="csv",
    show_default=True,
    help="Layout of the log.",
)
@click.option("--label", metavar="COLUMN", help="Column of clicks, for --format csv.")
@click.option(
    "--dense", metavar="COLUMNS", help="Columns that are numbers, separated by commas, for --format csv."
)
@click.option("--exclude", metavar="COLUMNS", help="Columns to leave out, for --format csv.")
@click.option(
    "--split",
    type=click.Choice(["order", "random"]),
    help="80/10/10 in the order of the file (criteo) or at random (csv).",
)
@click.option(
    "--instances", type=click.IntRange(min=1), default=300, show_default=True, help="Rows explained."
)
@click.option(
    "--perturbations", type=click.IntRange(min=1), default=2000, show_default=True, help="Masks a row."
)
@click.option(
    "--max-crosses",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Interactions made into crosses.",
)
@click.option(
    "--bins",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help="Quantile bins of a dense field in a cross.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same run.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Save report, crosses, schema and results.",
)
def demo(**options: Any) -> None:
    """Train a DeepFM, detect its interactions, give them back, and measure.

    Without --data on simulated clicks, where the interactions are known. Needs the framework's extra.
    """
    from rich.console import Console

    started = time.perf_counter()
    console = Console(highlight=False)
    from nid_plugins.cli.frameworks import Recipe

    simulated = options["data"] is None
    for name in ("label", "dense", "exclude", "split"):
        if simulated and options[name] is not None:
            raise SettingError(
                f"--{name} says how to read a file", received="no --data", hint="Add --data FILE"
            )
    framework = FRAMEWORKS[options["framework"]]
    framework.need()
    if options["out"] is not None:
        check_writable(options["out"], folder=True)
    parts = _simulated(console, options) if simulated else _read(console, options)
    # Where clicks are hard to tell from noise, slow steps end at a better place.
    with framework.running():
        run(console, framework, parts, Recipe(rate=3e-3 if simulated else 1e-3), options)
    console.print(f"\nDone in {time.perf_counter() - started:.0f} s.")


def _simulated(console: Console, options: dict[str, Any]) -> Parts:
    from nid_plugins.cli import story
    from nid_plugins.readers import split_by_order
    from nid_plugins.simulate import simulate

    log = simulate(options["rows"] or SIMULATED_ROWS, seed=options["seed"])
    truth = [log.rows(part) for part in split_by_order(len(log))]
    story.simulation(console, log)
    return Parts([part.frame for part in truth], [part.label for part in truth], log.schema, truth=truth)


def _read(console: Console, options: dict[str, Any]) -> Parts:
    from nid_plugins.cli import story
    from nid_plugins.readers import read_clicks

    path, layout = options["data"], options["format_"]
    clicks = read_clicks(
        path,
        layout,
        label=options["label"],
        rows=options["rows"],
        dense=names(options["dense"]),
        exclude=names(options["exclude"]),
    )
    split = options["split"] or ("order" if layout == "criteo" else "random")
    coded = clicks.encode(split=split, seed=options["seed"])
    story.log_read(console, path, clicks, coded, split)
    return Parts(list(coded.frames), list(coded.labels), coded.schema, encoder=coded.encoder)


def run(
    console: Console, framework: Framework, parts: Parts, recipe: Recipe, options: dict[str, Any]
) -> None:
    """Train, detect, cross, screen, inject, retrain and print, on a log in three parts."""
    import nid_plugins as nid
    from nid_plugins.cli import story
    from nid_plugins.cli.trial import Trial

    seed, schema = options["seed"], parts.schema
    trial = Trial(framework, parts.frames, parts.labels, schema, recipe, seed)

    story.heading(console, "Train a DeepFM", f"in {framework.title}, early-stopped on validation log-loss")
    base = trial.base()
    story.trained(console, base, parts.truth)

    story.heading(console, "Detect", "which fields does the model make interact?")
    box = trial.box(base)
    report = nid.detect(
        box,
        parts.frames[1],
        background=parts.frames[0],
        baseline="sample",
        instances=options["instances"],
        perturbations=options["perturbations"],
        seed=seed,
    )
    if parts.truth is not None:
        story.planted_and_found(console, parts.truth[0].planted, report)
    else:
        story.found(console, report)
    saved: dict[str, Any] = {"seed": seed, "base": base.scores(), "detected": len(report)}
    kept: CrossFeatures | None = None
    if len(report):
        story.heading(console, "Cross and screen", "what does each add to the model on validation rows?")
        crosses = nid.fit_crosses(
            report,
            parts.frames[0],
            schema,
            max_crosses=min(options["max_crosses"], len(report)),
            bins=options["bins"],
        )
        screened, chosen = trial.screened(box, crosses)
        kept = crosses.select(chosen) if chosen else None
        story.screened(console, screened, chosen, parts.truth[0].planted if parts.truth is not None else ())
    if kept is None:
        console.print(
            "\n[bold]There is nothing to inject[/]: no cross adds more than its error on validation rows. "
            "The model is left as it is."
        )
    else:
        story.heading(
            console,
            "Inject and retrain",
            "crosses as embeddings on the logit of the model as it is",
        )
        arms = [base, trial.longer(base)]
        drawn = trial.random_crosses(len(crosses), options["bins"])
        _, lucky = trial.screened(box, drawn)
        if lucky:
            arms.append(trial.crossed(base, drawn.select(lucky), "random crosses"))
        arms.append(trial.crossed(base, kept, "detected crosses"))
        story.controls(console, len(drawn), len(lucky))
        story.results(console, arms, parts.truth)
        saved["arms"] = {arm.name.strip(): arm.scores() for arm in arms}
        saved["crosses"] = list(kept.names)
    if options["out"] is not None:
        _save(console, options["out"], parts, report, kept, saved)


def _save(
    console: Console, out: Path, parts: Parts, report: Any, kept: CrossFeatures | None, saved: dict[str, Any]
) -> None:
    report.save(out / "report.json")
    (out / "schema.json").write_text(json.dumps(parts.schema.to_dict(), indent=2) + "\n", encoding="utf-8")
    (out / "results.json").write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
    if parts.encoder is not None:
        parts.encoder.save(out / "encoder.json")
    if kept is not None:
        kept.save(out / "crosses")
    console.print(
        f"\nSaved: {', '.join(sorted(path.name for path in out.iterdir()))} in {out}", soft_wrap=True
    )


def names(text: str | None) -> tuple[str, ...]:
    """Return the names in a list separated by commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
