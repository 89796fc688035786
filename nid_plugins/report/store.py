"""A report as a JSON file with a schema version."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import ArtefactError, SchemaError
from nid_plugins.paths import as_path
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from nid_plugins.report.report import InteractionReport

FORMAT = "nid-plugins/interaction-report"
VERSION = 1


def to_dict(report: InteractionReport) -> dict[str, Any]:
    """Return the report JSON-ready; NaN becomes null."""
    pairs = report.pair_strengths
    return {
        "format": FORMAT,
        "schema_version": VERSION,
        "schema": report.schema.to_dict(),
        "settings": report.settings,
        "interactions": [
            {
                "fields": list(i.fields),
                "count": int(i.count),
                "share": i.share,
                "strength": _out(i.strength),
                "gain": _out(i.gain),
                "stability": _out(i.stability),
            }
            for i in report.interactions
        ],
        "instances": {
            "r2": [_out(v) for v in report.r2],
            "r2_linear": [_out(v) for v in report.r2_linear],
            "kept": report.kept.tolist(),
        },
        "unswitched": report.unswitched,
        "pair_strengths": None if pairs is None else pairs[np.triu_indices(len(pairs), 1)].tolist(),
    }


def save(report: InteractionReport, path: str | os.PathLike[str]) -> None:
    """Write the report, whole or not at all."""
    target = as_path(path, "a report file")
    try:
        text = json.dumps(to_dict(report), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtefactError(
            f"the report holds what JSON cannot: {error}",
            expected="settings and detector options that are finite numbers, text, lists or None",
        ) from error
    if not target.name or target.is_dir():
        raise ArtefactError("the report cannot be written: a folder has this name", received=str(target))
    part = target.with_name(target.name + f".{os.getpid()}.part")
    try:
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ArtefactError(f"the report cannot be written: {error}", received=str(target)) from error


def load(path: str | os.PathLike[str]) -> InteractionReport:
    """Read a report; see :meth:`InteractionReport.load`."""
    path = as_path(path, "a report file")
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(f"the report cannot be read: {error}", received=str(path)) from error
    except ValueError as error:
        raise ArtefactError(
            "the report is damaged",
            received=f"{path}: {error}",
            expected="JSON written by InteractionReport.save",
            hint="Detect again, or restore the file",
        ) from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise ArtefactError("not an interaction report", received=str(path), expected=f'"format": "{FORMAT}"')
    version = spec.get("schema_version")
    if not isinstance(version, int) or version > VERSION:
        raise ArtefactError(
            "the report was written by a newer version of nid-plugins",
            received=f"schema version {version}",
            expected=f"at most {VERSION}",
            hint="Upgrade nid-plugins",
        )
    try:
        return read_dict(spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ArtefactError):
            raise
        raise ArtefactError(
            "the report is damaged",
            received=f"{path}: {error!r}",
            expected="a file written by InteractionReport.save",
            hint="Detect again, or restore the file",
        ) from error


def read_dict(spec: dict[str, Any]) -> InteractionReport:
    """Return the report that :func:`to_dict` wrote, unchecked; :func:`load` turns what goes wrong into a typed error."""
    from nid_plugins.report.report import Interaction, InteractionReport

    schema = FeatureSchema.from_dict(spec["schema"])
    interactions = []
    for item in spec["interactions"]:
        for name in item["fields"]:
            if name not in schema.names:
                raise SchemaError("an interaction of a field the schema lacks", field=name)
        interactions.append(
            Interaction(
                tuple(item["fields"]),
                int(item["count"]),
                float(item["share"]),
                _in(item["strength"]),
                _in(item["gain"]),
                _in(item["stability"]),
            )
        )
    instances = spec["instances"]
    if len({len(instances[name]) for name in ("r2", "r2_linear", "kept")}) > 1:
        raise ValueError("instances differ in length")
    upper = spec["pair_strengths"]
    pairs = None
    if upper is not None:
        pairs = np.zeros((len(schema), len(schema)))
        pairs[np.triu_indices(len(schema), 1)] = upper
        pairs += pairs.T
    return InteractionReport(
        interactions,
        schema,
        dict(spec["settings"]),
        np.array([_in(v) for v in instances["r2"]]),
        np.array([_in(v) for v in instances["r2_linear"]]),
        np.array(instances["kept"], dtype=np.int64),
        {name: float(share) for name, share in spec["unswitched"].items()},
        pairs,
    )


def _out(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _in(value: float | None) -> float:
    return math.nan if value is None else float(value)
