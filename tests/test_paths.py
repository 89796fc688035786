"""Paths as users give them: text and path objects, nothing else; and files written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import nid_plugins as nid
from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.paths import as_path, write_text


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


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "one")
    write_text(str(path), "zwölf\n")
    assert path.read_text("utf-8") == "zwölf\n"
    for place, text, why in (
        (tmp_path, "x", "a folder has this name.*Name a file"),
        (tmp_path / "none" / "a.txt", "x", "No such file"),
        (path, "\udc80", "surrogates"),
    ):
        with pytest.raises(ArtefactError, match=f"the list cannot be written: .*{why}"):
            write_text(place, text, "the list")
    with pytest.raises(ArtefactError, match="the file cannot be written"):
        write_text(tmp_path, "x")
    assert path.read_text("utf-8") == "zwölf\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
