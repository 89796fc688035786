"""Embeddings as an artefact: bound to the crosses they were learned with, and to nothing else."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import nid_plugins as nid
from nid_plugins.crosses import CrossFeatures, fit_crosses, store
from nid_plugins.errors import ArtefactError, SettingError


@pytest.fixture
def crosses(schema, train):
    return fit_crosses([("site", "item"), ("site", "price"), ("user", "device")], train, schema, bins=6)


@pytest.fixture
def embeddings(crosses):
    rng = np.random.default_rng(1)
    return {
        name: rng.normal(size=(size + 1, 4)).astype(np.float32)
        for name, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    }


@pytest.fixture
def saved(crosses, embeddings, tmp_path):
    return crosses.save(tmp_path / "dir", embeddings=embeddings)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == np.float32
        np.testing.assert_array_equal(a[name], b[name])


def edit(saved, change):
    path = saved / "crosses.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    change(spec)
    path.write_text(json.dumps(spec), encoding="utf-8")


def rewrite(saved, change):
    """Change the embeddings and state their new hash, as a faulty writer would."""
    arrays = load_file(saved / "embeddings.safetensors")
    change(arrays)
    data = save(arrays)
    (saved / "embeddings.safetensors").write_bytes(data)
    edit(saved, lambda spec: spec["embeddings"].update(sha256=hashlib.sha256(data).hexdigest()))


def test_round_trip(saved, crosses, embeddings, train):
    same(nid.load_embeddings(saved), embeddings)
    same(nid.load_embeddings(str(saved)), embeddings)
    np.testing.assert_array_equal(CrossFeatures.load(saved).transform(train), crosses.transform(train))
    files = ["arrays.safetensors", "crosses.json", "embeddings.safetensors"]
    assert sorted(path.name for path in saved.iterdir()) == files


def test_some_of_the_crosses_in_any_precision_and_with_lengths_of_their_own(crosses, embeddings, tmp_path):
    first, last = crosses.names[0], crosses.names[2]
    given = {last: embeddings[last].astype(np.float64), first: embeddings[first][:, :1].tolist()}
    again = nid.load_embeddings(crosses.save(tmp_path, given))
    same(again, {first: embeddings[first][:, :1], last: embeddings[last]})


def test_what_an_injected_model_has_learned(crosses, tmp_path):
    torch = pytest.importorskip("torch")

    torch.manual_seed(0)
    target = nid.inject(torch.nn.Linear(len(crosses.schema), 1).double(), crosses, output="logit", dim=3)
    rows = torch.rand(8, len(crosses.schema), dtype=torch.float64).floor()
    optimiser = torch.optim.Adam(target.parameters())
    (target(rows) ** 2).sum().backward()
    optimiser.step()
    learned = nid.cross_embeddings(target)
    assert any(values.any() for values in learned.values())
    same(nid.load_embeddings(crosses.save(tmp_path, embeddings=learned)), learned)


def test_a_directory_without_embeddings(crosses, tmp_path):
    crosses.save(tmp_path)
    with pytest.raises(
        ArtefactError, match=r"saved without embeddings.*crosses\.save\(directory, embeddings="
    ):
        nid.load_embeddings(tmp_path)


def test_saving_again_without_embeddings_removes_them(saved, crosses):
    crosses.save(saved)
    assert sorted(path.name for path in saved.iterdir()) == ["arrays.safetensors", "crosses.json"]
    with pytest.raises(ArtefactError, match="saved without embeddings"):
        nid.load_embeddings(saved)


def test_a_save_cut_short_is_reported(saved, crosses, embeddings, monkeypatch):
    before = (saved / "embeddings.safetensors").read_bytes()
    replace = store._replace

    def cut_short(path, data):
        if path.name == "crosses.json":
            raise OSError(28, "No space left on device")
        replace(path, data)

    monkeypatch.setattr(store, "_replace", cut_short)
    with pytest.raises(ArtefactError, match="cannot write"):
        crosses.save(saved, {name: values + 1 for name, values in embeddings.items()})
    assert (saved / "embeddings.safetensors").read_bytes() != before
    with pytest.raises(ArtefactError, match="of another save"):
        nid.load_embeddings(saved)
    assert CrossFeatures.load(saved).names == crosses.names


def test_missing_file(saved):
    (saved / "embeddings.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"cannot read .*embeddings\.safetensors.*Save them again"):
        nid.load_embeddings(saved)
    CrossFeatures.load(saved)


def test_missing_directory(tmp_path):
    with pytest.raises(ArtefactError, match=r"cannot read .*crosses\.json"):
        nid.load_embeddings(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_damaged_file(saved, change):
    path = saved / "embeddings.safetensors"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtefactError, match="damaged, truncated or of another save.*Save them again"):
        nid.load_embeddings(saved)


def test_embeddings_of_another_directory(saved, crosses, embeddings, tmp_path):
    other = crosses.save(tmp_path / "other", {name: -values for name, values in embeddings.items()})
    (saved / "embeddings.safetensors").write_bytes((other / "embeddings.safetensors").read_bytes())
    with pytest.raises(ArtefactError, match="of another save"):
        nid.load_embeddings(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.update({"embedding.0": arrays["embedding.0"][1:].copy()}),
        lambda arrays: arrays.update({"embedding.0": arrays["embedding.0"].ravel()}),
        lambda arrays: arrays["embedding.0"].fill(np.nan),
        lambda arrays: arrays.pop("embedding.1"),
    ],
)
def test_arrays_that_do_not_fit_the_crosses(saved, change):
    rewrite(saved, change)
    with pytest.raises(ArtefactError, match="do not fit the crosses there"):
        nid.load_embeddings(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(embeddings=None),
        lambda spec: spec.update(embeddings=[]),
        lambda spec: spec["embeddings"].pop("sha256"),
        lambda spec: spec["embeddings"].update(arrays="none"),
        lambda spec: spec["embeddings"].update(arrays={"x": "embedding.0"}),
        lambda spec: spec["embeddings"].update(arrays={spec["crosses"][0]["name"]: ["embedding.0"]}),
        lambda spec: spec.update(crosses=[1]),
        lambda spec: spec["crosses"][0].update(vocabulary="many"),
    ],
)
def test_a_specification_that_was_edited(saved, change):
    edit(saved, change)
    with pytest.raises(ArtefactError, match="do not fit the crosses there"):
        nid.load_embeddings(saved)


def test_what_is_no_safetensors(saved):
    data = b"not a tensor file"
    (saved / "embeddings.safetensors").write_bytes(data)
    edit(saved, lambda spec: spec["embeddings"].update(sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(ArtefactError, match="do not fit the crosses there"):
        nid.load_embeddings(saved)


def test_embeddings_that_do_not_fit_are_refused_and_nothing_is_written(crosses, embeddings, tmp_path):
    name = crosses.names[0]
    for given, message in [
        ({"x": embeddings[name]}, "embeddings of an unknown cross"),
        ({name: embeddings[name][1:]}, "do not fit"),
        ({name: embeddings[name] * np.inf}, "not finite"),
        ({name: np.full(embeddings[name].shape, 1e39)}, "too large for float32"),
        ([embeddings[name]], "not given by name"),
        ({}, "no embeddings to save"),
    ]:
        with np.errstate(invalid="ignore"), pytest.raises(SettingError, match=message):
            crosses.save(tmp_path / "new", given)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("directory", [None, 3, ["dir"]])
def test_not_a_path(crosses, directory):
    for call in (crosses.save, CrossFeatures.load, nid.load_embeddings):
        with pytest.raises(SettingError, match="not a directory; received:"):
            call(directory)
