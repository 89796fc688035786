"""Writing a plug-in: the worked package as if it were installed, and clicks for it."""

from __future__ import annotations

import sys

import docs_clicks
from docs_blocks import ROOT

import nid_plugins as nid

BLOCKS = ("LogisticTables(", "nid plugins")
SCHEMA = docs_clicks.schema_of(site=6, app=5, device=4)


def given():
    sys.path.insert(0, str(ROOT / "tests" / "plugins" / "nid_example"))
    from nid_example import plugin

    nid.get_manager().register(plugin, "example")
    log = docs_clicks.clicks(SCHEMA, 2000)
    train, valid = log[:1500], log[1500:]
    return {
        "train": docs_clicks.columns(train, SCHEMA),
        "valid": docs_clicks.columns(valid, SCHEMA),
        "clicks": train["click"].to_numpy(),
    }


def is_injected(page, printed):
    assert printed == "0\n('site', 'app')\n"
    assert set(nid.cross_embeddings(page["target"])) == {"site__x__app"}


def is_listed(page, printed):
    assert "deepctr_torch" in printed


AFTER = {"LogisticTables(": is_injected, "nid plugins": is_listed}
