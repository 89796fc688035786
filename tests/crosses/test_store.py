"""Saving and loading: the same crosses come back, and anything damaged is named, never guessed at."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import nid_plugins
from nid_plugins import ArtefactError
from nid_plugins.crosses import CrossFeatures, fit_crosses, store
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


@pytest.fixture
def crosses(schema, train):
    return fit_crosses([("site", "item"), ("site", "price"), ("user", "device")], train, schema, bins=6)


@pytest.fixture
def saved(crosses, tmp_path):
    return crosses.save(tmp_path / "deep" / "dir")


def edit(saved, change):
    path = saved / "crosses.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    change(spec)
    path.write_text(json.dumps(spec), encoding="utf-8")


def rewrite_arrays(saved, change):
    """Change the arrays and state their new hash, as a faulty writer would."""
    arrays = load_file(saved / "arrays.safetensors")
    change(arrays)
    data = save(arrays)
    (saved / "arrays.safetensors").write_bytes(data)
    edit(saved, lambda spec: spec["arrays"].update(sha256=store.hashlib.sha256(data).hexdigest()))


def test_round_trip(crosses, saved, train):
    again = CrossFeatures.load(saved)
    assert again.schema == crosses.schema
    assert again.names == crosses.names
    assert again.vocabulary_sizes == crosses.vocabulary_sizes
    for a, b in zip(again.crosses, crosses.crosses, strict=True):
        assert (a.fields, a.sizes, a.exact) == (b.fields, b.sizes, b.exact)
        assert np.array_equal(a.keys, b.keys)
    assert again.edges.keys() == crosses.edges.keys()
    assert np.array_equal(again.edges["price"], crosses.edges["price"])
    assert np.array_equal(again.transform(train), crosses.transform(train))
    assert CrossFeatures.load(str(saved)).select([1]).save(saved) == saved, (
        "a directory may be saved to again"
    )
    assert CrossFeatures.load(saved).names == ("site__x__price",)


def test_what_is_written(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["arrays.safetensors", "crosses.json"]
    spec = json.loads((saved / "crosses.json").read_text(encoding="utf-8"))
    assert spec["schema_version"] == 1
    assert spec["package_version"] == nid_plugins.__version__
    arrays = load_file(saved / "arrays.safetensors")
    assert {str(a.dtype) for name, a in arrays.items() if name.startswith("keys")} == {"int64"}
    assert {str(a.dtype) for name, a in arrays.items() if name.startswith("edges")} == {"float32"}


def test_names_in_any_script(tmp_path):
    schema = FeatureSchema([SparseField("площадка/№1", 2), DenseField('价格 "x"\n')])
    train = {"площадка/№1": np.arange(20) % 2, '价格 "x"\n': np.arange(20.0)}
    crosses = fit_crosses([schema.names], train, schema, bins=2)
    again = CrossFeatures.load(crosses.save(tmp_path))
    assert again.names == crosses.names
    assert np.array_equal(again.transform(train), crosses.transform(train))


@pytest.mark.parametrize("name", ["crosses.json", "arrays.safetensors"])
def test_missing_file(saved, name):
    (saved / name).unlink()
    with pytest.raises(ArtefactError, match=rf"cannot read .*{name}.*FileNotFoundError.*CrossFeatures\.save"):
        CrossFeatures.load(saved)


def test_missing_directory(tmp_path):
    with pytest.raises(ArtefactError, match="cannot read"):
        CrossFeatures.load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"format": "nid-plugins crosses", '])
def test_bad_json(saved, text):
    (saved / "crosses.json").write_bytes(text)
    with pytest.raises(ArtefactError, match="not JSON"):
        CrossFeatures.load(saved)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", "{}", '{"format": "nid-plugins report", "schema_version": 1}']
)
def test_another_kind_of_json(saved, text):
    (saved / "crosses.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtefactError, match="not a specification of crosses"):
        CrossFeatures.load(saved)


def test_newer_schema_version(saved):
    edit(saved, lambda spec: spec.update(schema_version=2, package_version="9.9"))
    with pytest.raises(
        ArtefactError, match=r"newer version.*schema version 2, saved by nid-plugins 9\.9.*Upgrade"
    ):
        CrossFeatures.load(saved)


@pytest.mark.parametrize("version", [None, "1", 0, 1.0, True])
def test_no_schema_version(saved, version):
    edit(saved, lambda spec: spec.update(schema_version=version))
    with pytest.raises(ArtefactError, match="schema version"):
        CrossFeatures.load(saved)


def test_truncated_arrays(saved):
    path = saved / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match="damaged, truncated or of another save"):
        CrossFeatures.load(saved)


def test_one_flipped_bit(saved):
    path = saved / "arrays.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match="SHA-256"):
        CrossFeatures.load(saved)


def test_arrays_of_another_save(crosses, saved, tmp_path):
    other = crosses.select([0]).save(tmp_path / "other")
    (saved / "arrays.safetensors").write_bytes((other / "arrays.safetensors").read_bytes())
    with pytest.raises(ArtefactError, match="another save"):
        CrossFeatures.load(saved)


def reverse_keys(arrays):
    arrays["keys.0"] = arrays["keys.0"][::-1].copy()


def drop_a_key(arrays):
    arrays["keys.0"] = arrays["keys.0"][1:].copy()


def widen_edges(arrays):
    arrays["edges.1"] = np.append(arrays["edges.1"], np.float32(1e9))


def float_keys(arrays):
    arrays["keys.0"] = arrays["keys.0"].astype(np.float64)


def add_a_key_out_of_range(arrays):
    arrays["keys.0"][-1] = 10**9


@pytest.mark.parametrize(
    "change", [reverse_keys, drop_a_key, widen_edges, float_keys, add_a_key_out_of_range]
)
def test_arrays_that_do_not_fit_the_specification(saved, change):
    rewrite_arrays(saved, change)
    with pytest.raises(ArtefactError, match="do not fit together"):
        CrossFeatures.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["crosses"][0].update(sizes=[6, 41]),
        lambda spec: spec["crosses"][0].update(exact=False),
        lambda spec: spec["crosses"][0].update(vocabulary=1),
        lambda spec: spec["crosses"][0].update(fields=["site", "colour"]),
        lambda spec: spec["crosses"].clear(),
        lambda spec: spec["schema"]["fields"].pop(),
        lambda spec: spec["edges"].clear(),
        lambda spec: spec.update(schema={"fields": "?"}),
    ],
)
def test_a_specification_that_was_edited(saved, change):
    edit(saved, change)
    with pytest.raises(ArtefactError, match="do not fit together"):
        CrossFeatures.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.pop("arrays"),
        lambda spec: spec.update(arrays=[]),
        lambda spec: spec.pop("crosses"),
        lambda spec: spec.update(crosses=[1]),
        lambda spec: spec["crosses"][0].update(keys="keys.9"),
        lambda spec: spec["crosses"][0].update(sizes=["many", 40]),
        lambda spec: spec.update(edges=None),
    ],
)
def test_an_incomplete_specification(saved, change):
    edit(saved, change)
    with pytest.raises(ArtefactError, match="incomplete or malformed"):
        CrossFeatures.load(saved)


def test_arrays_that_are_no_safetensors(saved):
    (saved / "arrays.safetensors").write_bytes(b"not a tensor file")
    digest = store.hashlib.sha256(b"not a tensor file").hexdigest()
    edit(saved, lambda spec: spec["arrays"].update(sha256=digest))
    with pytest.raises(ArtefactError, match="incomplete or malformed"):
        CrossFeatures.load(saved)


def test_a_place_that_cannot_be_written(crosses, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ArtefactError, match="cannot write"):
        crosses.save(tmp_path / "file")


def test_a_failed_save_leaves_the_old_one(crosses, saved, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(ArtefactError, match="No space left"):
        crosses.select([0]).save(saved)
    monkeypatch.undo()
    assert CrossFeatures.load(saved).names == crosses.names
    assert sorted(path.name for path in saved.iterdir()) == ["arrays.safetensors", "crosses.json"]
