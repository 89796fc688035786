"""The report on the command line: a report, crosses, rows with clicks, and a module with the model."""

from __future__ import annotations

from pathlib import Path

import docs_clicks

import nid_plugins as nid

NEEDS = ("jinja2", "matplotlib", "pyarrow")
BLOCKS = ("nid report ", "nid compare ")
SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
MODULE = """
import docs_clicks

import nid_plugins as nid


def load():
    schema = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
    return nid.wrap(docs_clicks.logit, schema, output="logit")


def load_injected():
    schema = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
    return nid.wrap(lambda rows: 0.5 * docs_clicks.logit(rows), schema, output="logit")
"""


def given():
    train, valid = docs_clicks.clicks(SCHEMA, 1500), docs_clicks.clicks(SCHEMA, 1000, seed=1)
    box = nid.wrap(docs_clicks.logit, SCHEMA, output="logit")
    report = nid.detect(box, train, instances=20, perturbations=400, seed=0, progress=False)
    report.save("report.json")
    nid.fit_crosses(report, train, SCHEMA, max_crosses=1).save("crosses")
    valid.to_parquet("valid.parquet")
    Path("my_models.py").write_text(MODULE, encoding="utf-8")
    return {}


def is_drawn(page, printed):
    assert Path("ranking.png").read_bytes().startswith(b"\x89PNG")


def is_compared(page, printed):
    assert "Calibration by bins of predictions" in Path("before-after.html").read_text("utf-8")


def is_kept(page, printed):
    assert nid.ModelComparison.load("comparison.json").rows == 1000


def has_combinations(page, printed):
    assert "Strongest combinations of site x item" in Path("report.html").read_text("utf-8")


AFTER = {
    "--plot ranking.png": is_drawn,
    "--crosses crosses/": has_combinations,
    "--html before-after.html": is_compared,
    "nid compare": is_kept,
}
