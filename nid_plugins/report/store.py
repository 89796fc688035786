"""A report as a JSON file with a schema version."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.artefacts import Artefact
from nid_plugins.errors import SchemaError
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from nid_plugins.report.report import InteractionReport

ARTEFACT = Artefact("nid-plugins/interaction-report", 1, "report")


def to_dict(report: InteractionReport) -> dict[str, Any]:
    """Return the report JSON-ready; NaN becomes null."""
    pairs = report.pair_strengths
    content = {
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
    return ARTEFACT.stamped(content)


def save(report: InteractionReport, path: str | os.PathLike[str]) -> None:
    """Write the report, whole or not at all."""
    ARTEFACT.save(to_dict(report), path)


def load(path: str | os.PathLike[str]) -> InteractionReport:
    """Read a report; see :meth:`InteractionReport.load`."""
    return ARTEFACT.load(path, read_dict)


def read_dict(spec: Mapping[str, Any]) -> InteractionReport:
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
