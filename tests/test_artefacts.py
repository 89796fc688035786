"""What is kept as a JSON file: it says what it is, comes back the same, and anything else is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from nid_plugins.artefacts import Artefact, Kept
from nid_plugins.errors import ArtefactError, SchemaError, SettingError


@dataclass
class Eggs(Kept):
    """A result of one number."""

    artefact: ClassVar[Artefact] = Artefact("tests/eggs", 2, "basket of eggs")

    count: float

    def _content(self):
        return {"count": self.count}

    @classmethod
    def _made(cls, spec):
        if spec["count"] == 13:
            raise SchemaError("an egg too many")
        return cls(int(spec["count"]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "eggs.json"


def test_it_comes_back_and_says_what_it_is(path, tmp_path):
    assert Eggs(7).to_dict() == {"format": "tests/eggs", "schema_version": 2, "count": 7}
    Eggs(7).save(path)
    Eggs(6).save(str(path))
    assert Eggs.load(path) == Eggs(6)
    assert Eggs.from_dict(json.loads(path.read_text("utf-8"))) == Eggs(6)
    assert [one.name for one in tmp_path.iterdir()] == ["eggs.json"]
    assert Eggs.from_dict({**Eggs(5).to_dict(), "schema_version": 1}) == Eggs(5), "older ones are read"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the basket of eggs is damaged; received: .*eggs.json: .*Restore the file"),
        ("[]", "not a basket of eggs; received: .*eggs.json: list; expected: .*tests/eggs"),
        ('{"format": "tests/milk"}', "not a basket of eggs; received: .*eggs.json: format 'tests/milk'"),
        ('{"format": "tests/eggs", "schema_version": 3}', "newer version.*schema version 3.*Upgrade"),
        ('{"format": "tests/eggs", "schema_version": true}', "newer version"),
        ('{"format": "tests/eggs"}', "newer version.*schema version None"),
        ('{"format": "tests/eggs", "schema_version": 2}', "damaged; received: .*eggs.json: KeyError"),
        ('{"format": "tests/eggs", "schema_version": 2, "count": "many"}', "damaged.*ValueError"),
        ('{"format": "tests/eggs", "schema_version": 2, "count": Infinity}', "damaged.*OverflowError"),
        ('{"format": "tests/eggs", "schema_version": 2, "count": 13}', "damaged.*an egg too many"),
    ],
)
def test_what_is_none_is_refused(path, content, message):
    path.write_text(content, "utf-8")
    with pytest.raises(ArtefactError, match=message):
        Eggs.load(path)


def test_without_a_file_none_is_named():
    with pytest.raises(ArtefactError, match="not a basket of eggs; received: int;"):
        Eggs.from_dict(3)
    with pytest.raises(ArtefactError, match="received: KeyError"):
        Eggs.from_dict({"format": "tests/eggs", "schema_version": 2})


def test_what_cannot_be_kept_leaves_the_file_as_it_was(path):
    Eggs(7).save(path)
    for count in (float("nan"), object()):
        with pytest.raises(ArtefactError, match="the basket of eggs holds what JSON cannot"):
            Eggs(count).save(path)
    assert Eggs.load(path) == Eggs(7)


def test_places_that_are_none(path, tmp_path):
    with pytest.raises(ArtefactError, match="the basket of eggs cannot be read"):
        Eggs.load(path)
    with pytest.raises(ArtefactError, match="the basket of eggs cannot be written: a folder has this name"):
        Eggs(7).save(tmp_path)
    for call in (Eggs.load, Eggs(7).save):
        with pytest.raises(SettingError, match="not a basket of eggs file"):
            call(7)
