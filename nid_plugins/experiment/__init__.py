"""A/B tests of an injected model against its base: design, assignment, router, analysis.

Everything public is an attribute of this package, imported on first use, so that assigning units needs NumPy only.
The guide is ``docs/ab.md``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nid_plugins.experiment.analysis import analyze
    from nid_plugins.experiment.answers import Answer
    from nid_plugins.experiment.assignment import assign
    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.duckdb_sink import DuckDBSink
    from nid_plugins.experiment.exposures import Exposures
    from nid_plugins.experiment.growthbook import growthbook_payload
    from nid_plugins.experiment.hashing import bucket
    from nid_plugins.experiment.metrics import Guardrail, Metric
    from nid_plugins.experiment.null_runs import aa
    from nid_plugins.experiment.parquet_sink import ParquetSink, read_exposures
    from nid_plugins.experiment.results import (
        AAResult,
        Analysis,
        Effect,
        Exclusion,
        GuardrailVerdict,
        SampleRatio,
    )
    from nid_plugins.experiment.router import Router
    from nid_plugins.experiment.sizes import Sizing
    from nid_plugins.experiment.sizing import size, size_of_effect
    from nid_plugins.experiment.variants import Namespace, Variant

_HOMES = {
    "analysis": ("analyze",),
    "answers": ("Answer",),
    "assignment": ("assign",),
    "design": ("Design",),
    "duckdb_sink": ("DuckDBSink",),
    "exposures": ("Exposures",),
    "growthbook": ("growthbook_payload",),
    "hashing": ("bucket",),
    "metrics": ("Guardrail", "Metric"),
    "parquet_sink": ("ParquetSink", "read_exposures"),
    "null_runs": ("aa",),
    "results": ("AAResult", "Analysis", "Effect", "Exclusion", "GuardrailVerdict", "SampleRatio"),
    "router": ("Router",),
    "sizes": ("Sizing",),
    "sizing": ("size", "size_of_effect"),
    "variants": ("Namespace", "Variant"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AAResult",
    "Analysis",
    "Answer",
    "Design",
    "DuckDBSink",
    "Effect",
    "Exclusion",
    "Exposures",
    "Guardrail",
    "GuardrailVerdict",
    "Metric",
    "Namespace",
    "ParquetSink",
    "Router",
    "SampleRatio",
    "Sizing",
    "Variant",
    "aa",
    "analyze",
    "assign",
    "bucket",
    "growthbook_payload",
    "read_exposures",
    "size",
    "size_of_effect",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
