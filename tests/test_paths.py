"""Paths as users give them: text and path objects, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import nid_plugins as nid
from nid_plugins.errors import SettingError
from nid_plugins.paths import as_path


class Place:
    def __fspath__(self):
        return "here"


def test_text_and_paths():
    assert as_path("a/b", "a file") == as_path(Path("a/b"), "a file") == Path("a/b")
    assert as_path(Place(), "a file") == Path("here")


@pytest.mark.parametrize("value", [None, 3, True, b"here", ["here"]])
def test_other_things(value):
    with pytest.raises(SettingError, match="not a file; received: .*a string or pathlib.Path"):
        as_path(value, "a file")


@pytest.mark.parametrize("value", [None, 3])
def test_everything_that_is_loaded_by_path(value):
    for load in (nid.CrossFeatures.load, nid.load_embeddings, nid.InteractionReport.load):
        with pytest.raises(SettingError, match=r"not a (directory|report file)"):
            load(value)
