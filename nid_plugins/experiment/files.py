"""A design as a file: YAML that explains itself, or JSON; and one folder with what the experiment is about."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import ArtefactError, NidWarning, SettingError
from nid_plugins.experiment.layout import check_layout
from nid_plugins.experiment.specs import check_version, from_spec, to_spec
from nid_plugins.paths import as_path, write_text

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from nid_plugins.experiment.design import Design

FILE = "design.yaml"
CROSSES = "crosses"
REPORT = "report.json"
ENDINGS = (".yaml", ".yml", ".json")

_HEAD = """\
# The plan of an A/B test, decided before it starts. Made for nid ab; read with nid.experiment.Design.load.
# Units (users) are put into variants by a hash of seed and unit id, the same as in GrowthBook.
"""
_COMMENTS = {
    "version": "Layout of this file.",
    "seed": "Another seed gives another assignment. Never change it while the experiment runs.",
    "unit": "Column of the unit ids. All impressions of a unit go to one variant.",
    "variants": "The first is the control. Weights are shares of the units in the experiment and sum to 1.",
    "coverage": "Share of all units that are in the experiment. It may be raised while it runs: nobody changes variant.",
    "namespace": "Slice [start, stop) of a traffic shared with other experiments, so that no unit is in two.",
    "primary": "The metric that decides. Columns are those of the impressions; 'impressions' counts rows.",
    "mde": "Smallest relative change of the primary metric worth finding: 0.01 is 1 %.",
    "alpha": "Two-sided false-positive rate.",
    "power": "Chance to find a change of that size.",
    "correction": "For several metrics or treatments: holm, bonferroni, benjamini-hochberg or none.",
    "guardrails": "Must not get worse (up, down or either) by more than margin, relative to the control.",
    "metrics": "Secondary metrics.",
    "start": "The window: from start to before stop, with time zone.",
    "artefacts": "What the experiment is about, beside this file.",
    "sizing": "What past logs said about the size; '_cuped' is with the covariate.",
}


def save(design: Design, path: str | os.PathLike[str]) -> Path:
    """Write a plan, whole or not at all; see :meth:`nid_plugins.experiment.Design.save`."""
    target = as_path(path, "a design's file or folder")
    if target.is_dir() or not target.suffix:
        target /= FILE
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise SettingError(
            "unknown ending", field="path", received=str(target), expected=f"one of {', '.join(ENDINGS)}"
        )
    spec = to_spec(design)
    if ending == ".json":
        text = json.dumps(spec, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = _yaml_text(spec)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtefactError(f"the design cannot be written: {error}", received=str(target)) from error
    write_text(target, text, "the design")
    return target


def load(path: str | os.PathLike[str]) -> Design:
    """Read a plan; see :meth:`nid_plugins.experiment.Design.load`."""
    target = as_path(path, "a design's file or folder")
    if not target.exists():
        raise ArtefactError(
            "no such file or folder",
            received=str(target),
            expected=f"a design's file, or a folder with {FILE}",
        )
    folder = target if target.is_dir() else None
    if folder is not None:
        target = _in_folder(folder)
    if target.suffix.lower() not in ENDINGS:
        raise SettingError(
            "unknown ending", field="path", received=str(target), expected=f"one of {', '.join(ENDINGS)}"
        )
    try:
        text = target.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"the design cannot be read: {error}", received=str(target), expected="a text file in UTF-8"
        ) from error
    if target.suffix.lower() == ".json":
        spec = _read_json(text, target)
    else:
        from nid_plugins.experiment.plain_yaml import read_yaml

        spec = read_yaml(text, str(target))
    if isinstance(spec, dict):
        check_version(spec)  # first: a newer layout is not to be judged by this one
    check_layout(spec)
    design = from_spec(spec)
    if folder is not None:
        _warn_of_missing(design, folder)
    return design


def keep(
    design: Design, folder: str | os.PathLike[str], *, crosses: Any = None, report: Any = None
) -> Design:
    """Write a plan and what it is about; see :meth:`nid_plugins.experiment.Design.keep`."""
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.report import InteractionReport

    place = as_path(folder, "a folder")
    for value, kind, name in ((crosses, CrossFeatures, "crosses"), (report, InteractionReport, "report")):
        if value is not None and not isinstance(value, kind):
            raise SettingError(
                "the wrong kind of object",
                field=name,
                received=type(value).__name__,
                expected=f"nid.{kind.__name__}",
            )
    if place.exists() and not place.is_dir():
        raise ArtefactError("a file has the folder's name", received=str(place), expected="a folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtefactError(f"the folder cannot be made: {error}", received=str(place)) from error
    artefacts = dict(design.artefacts)
    if crosses is not None:
        crosses.save(place / CROSSES)
        artefacts["crosses"] = CROSSES
    if report is not None:
        report.save(place / REPORT)
        artefacts["report"] = REPORT
    kept = replace(design, artefacts=artefacts)
    _warn_of_missing(kept, place)
    save(kept, place / FILE)
    return kept


def _in_folder(folder: Path) -> Path:
    found = [folder / f"design{ending}" for ending in ENDINGS if (folder / f"design{ending}").is_file()]
    if len(found) != 1:
        raise ArtefactError(
            "no design in the folder" if not found else "two designs in the folder",
            received=", ".join(map(str, found)) or str(folder),
            expected=f"one file {FILE}",
            hint="Name the file itself" if found else "Write one with Design.keep or nid ab design",
        )
    return found[0]


def _warn_of_missing(design: Design, folder: Path) -> None:
    gone = [f"{name} ({place})" for name, place in design.artefacts.items() if not (folder / place).exists()]
    if gone:
        warnings.warn(
            NidWarning(f"artefacts the design names are not in {folder}: {', '.join(gone)}"), stacklevel=4
        )


def _read_json(text: str, target: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ArtefactError("the design is nested too deeply", received=str(target)) from None
    except ValueError as error:
        if isinstance(error, SettingError):
            raise
        raise ArtefactError(
            f"the design is not JSON: {error}",
            received=str(target),
            expected="JSON, as Design.save writes it",
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise SettingError("the key is there twice", field=key, hint="Remove one")
        found[key] = value
    return found


def _yaml_text(spec: dict[str, Any]) -> str:
    from nid_plugins.experiment.plain_yaml import write_yaml

    parts = [_HEAD]
    for key, value in spec.items():
        comment = f"\n# {_COMMENTS[key]}\n" if key in _COMMENTS else ""
        parts.append(comment + write_yaml({key: value}))
    return "".join(parts)
