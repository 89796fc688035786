"""The README's A/B test: two models of the simulated log, and a request of its rows."""

from __future__ import annotations

import numpy as np

import nid_plugins as nid
from nid_plugins.simulate import simulate

NEEDS = ("tea_tasting", "ibis", "duckdb", "pyarrow", "jinja2", "yaml", "jsonschema", "deepctr_torch")
BLOCKS = ("Router(",)


def given():
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    log = simulate(4000, seed=0)
    columns = [
        SparseFeat(f.name, f.cardinality, 8) if isinstance(f, nid.SparseField) else DenseFeat(f.name)
        for f in log.schema
    ]
    model = DeepFM(columns, columns, dnn_hidden_units=(8,))
    crosses = nid.fit_crosses([sorted(log.planted_sets[0])], log.frame, log.schema)
    return {
        "model": model,
        "target": nid.inject(model, crosses),
        "log": log,
        "frame": log.frame,
        "users": np.arange(len(log)) % 1000,
        "clicked": np.flatnonzero(log.label),
    }


def is_decided(page, printed):
    result = page["result"]
    assert printed.split()[0] == result.decision
    assert sum(result.impressions.values()) == len(page["log"])


AFTER = {"Router(": is_decided}
