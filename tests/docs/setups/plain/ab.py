"""A/B tests on the command line: past impressions, a list of users, and what two variants have shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from nid_plugins.experiment import Design, assign

NEEDS = ("tea_tasting", "ibis", "duckdb", "pyarrow", "jinja2", "yaml", "jsonschema")
BLOCKS = ("nid ab ",)
USERS = 600


def impressions(seed):
    """Return ten impressions of each user: who, when, the base's prediction, and the chance of a click."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(USERS), 10)
    chance = np.repeat(rng.uniform(0.05, 0.5, USERS), 10)
    return pd.DataFrame(
        {"user_id": users, "covariate": chance, "click": (rng.random(len(users)) < chance) * 1}
    )


def given():
    impressions(0).to_parquet("past.parquet")
    pd.DataFrame({"user_id": np.arange(USERS)}).to_csv("users.csv", index=False)
    return {}


def show(page):
    """Show each user the variant that the plan says, and write exposures and clicks as a service would."""
    design = Design.load("ab")
    log = impressions(1)
    names = np.array([variant.name for variant in design.variants])[assign(design, log["user_id"].to_numpy())]
    exposures = pd.DataFrame(
        {
            "experiment": design.name,
            "unit": log["user_id"].astype(str),
            "variant": names,
            "served": names,
            "fallback": False,
            "impression": [f"i{i}" for i in range(len(log))],
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(log)), "min"),
            "latency_ms": 1.0,
            "prediction": log["covariate"],
            "covariate": log["covariate"],
        }
    )
    Path("ab", "exposures").mkdir()
    exposures.to_parquet("ab/exposures/part-0.parquet")
    exposures.loc[log["click"] == 1, ["impression"]].to_parquet("clicks.parquet")


def is_sized(page, printed):
    assert Design.load("ab").sizing is not None


def is_assigned(page, printed):
    assigned = pd.read_csv("assigned.csv")
    assert len(assigned) == USERS
    assert set(assigned["variant"]) == {"base", "crosses"}


def is_read(page, printed):
    assert json.loads(Path("result.json").read_text("utf-8"))["decision"] in {"continue", "stop", "ship"}
    assert Path("result.html").is_file()


BEFORE = {"nid ab analyze": show}
AFTER = {"--units-per-day": is_sized, "nid ab assign": is_assigned, "nid ab analyze": is_read}
