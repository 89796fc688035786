"""Detection at scale: a black box that can be pickled, rows of clicks, and a Ray that says it has a GPU.

The GPU is a number Ray counts with, so that an actor that asks for one is hired; nothing computes on it.
"""

from __future__ import annotations

import docs_clicks
import ray

import nid_plugins as nid

NEEDS = ("ray", "cloudpickle")
SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
TRAIN, VALID = docs_clicks.clicks(SCHEMA, 1000), docs_clicks.clicks(SCHEMA, 96, seed=1)


def given():
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    box = nid.wrap(docs_clicks.logit, SCHEMA, output="logit")
    return {"box": box, "train": TRAIN, "valid": VALID}


def leads(page, printed):
    assert page["report"].interactions[0].fields == ("site", "item")


def is_settled(page, printed):
    leads(page, printed)
    assert printed.split()[0].isdigit()


AFTER = {'instances="auto"': is_settled, "matching_pursuit": leads, "RayExecutor(": leads}
