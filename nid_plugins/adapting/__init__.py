"""Tools for whoever writes an adapter: what every framework's adapter has to check or work out, with no framework in it.

Nothing here is needed to *use* nid-plugins. The adapters that come with it are built from these parts and nothing else.
"""

from __future__ import annotations

from nid_plugins.adapting.columns import (
    built_by,
    check_all_used,
    check_members,
    check_schema,
    column_names,
    common_dim,
    flat,
    pair_of,
)
from nid_plugins.adapting.inputs import check_extract, check_inputs
from nid_plugins.adapting.options import (
    TowerOptions,
    check_names,
    flag,
    fraction,
    positive,
)
from nid_plugins.adapting.precision import FLOAT32_IDS, check_exact_crosses, check_exact_ids
from nid_plugins.adapting.probe import probed_output, synthetic_rows
from nid_plugins.adapting.randomness import python_random_kept
from nid_plugins.crosses.embeddings import check_embeddings

__all__ = [
    "FLOAT32_IDS",
    "TowerOptions",
    "built_by",
    "check_all_used",
    "check_embeddings",
    "check_exact_crosses",
    "check_exact_ids",
    "check_extract",
    "check_inputs",
    "check_members",
    "check_names",
    "check_schema",
    "column_names",
    "common_dim",
    "flag",
    "flat",
    "fraction",
    "pair_of",
    "positive",
    "probed_output",
    "python_random_kept",
    "synthetic_rows",
]
