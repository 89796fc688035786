"""Scale: a report, and a log of three days as Parquet files."""

from __future__ import annotations

from pathlib import Path

import docs_clicks
import numpy as np
import pandas as pd

import nid_plugins as nid

NEEDS = ("pyarrow",)
SCHEMA = docs_clicks.schema_of(site=20, user=1000, price=None)
LOG = docs_clicks.clicks(SCHEMA, 3000)


def given():
    for day in range(3):
        folder = Path("logs", f"day={day}")
        folder.mkdir(parents=True)
        LOG[day * 1000 : (day + 1) * 1000].to_parquet(folder / "part-0.parquet")
    box = nid.wrap(docs_clicks.logit, SCHEMA, output="logit")
    report = nid.detect(box, LOG, instances=20, perturbations=200, seed=0, progress=False)
    report.save("report.json")
    return {"report": report, "schema": SCHEMA}


def written():
    """Return the rows of the parts beside ``crossed``, in their order."""
    return pd.concat(pd.read_parquet(path) for path in sorted(Path("crossed").rglob("*.parquet")))


def is_crossed(page, printed):
    crosses, rows = page["crosses"], written()
    in_memory = nid.fit_crosses(page["report"], LOG, SCHEMA)
    assert crosses.names == in_memory.names
    assert crosses.names[0] == "site__x__user"
    assert np.array_equal(rows[list(crosses.names)].to_numpy(), in_memory.transform(LOG))
    assert list(rows["click"]) == list(LOG["click"])
    ids = crosses.row({"site": 3, "price": 1.25, "user": 812})
    assert len(ids) == len(crosses)
    assert ids[0] == 0  # a user nobody has seen


def make_room(page):
    """The command writes where the code above it has written."""
    Path("crosses").rename("crosses of the code")
    Path("crossed").rename("crossed by the code")


def is_the_same(page, printed):
    crosses, rows = nid.CrossFeatures.load("crosses"), written()
    assert crosses.names == page["crosses"].names
    assert np.array_equal(rows[list(crosses.names)].to_numpy(), page["crosses"].transform(LOG))
    assert list(rows["click"]) == list(LOG["click"])


WARNS = ("1 crosses of 40",)  # more are not planted
BEFORE = {"nid cross report.json": make_room}
AFTER = {"crosses.row(": is_crossed, "nid cross report.json": is_the_same}
