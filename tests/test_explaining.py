"""``nid.explain``: one signature for rows and for domains, which says the same as the functions that do the work."""

from __future__ import annotations

import inspect
import typing

import pytest

import nid_plugins as nid
from nid_plugins.explaining import explain


def defaults(function):
    """Return the parameters of a function that have a default, but for those a domain alone has."""
    own = {"domain", "output", "target", "epsilon", "batch_size"}
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in own}


def test_what_is_written_more_than_once_is_the_same():
    told = defaults(explain)
    for_a_row, for_a_domain = typing.get_overloads(explain)
    assert defaults(for_a_row) == defaults(nid.detection.explain) == told
    assert {**defaults(for_a_domain), "baseline": told["baseline"]} == told
    of_many = defaults(nid.detect)
    assert {name: of_many[name] for name in told} == told


def test_a_row_takes_no_options_of_a_domain():
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        nid.explain(None, {}, mask="[MASK]")
