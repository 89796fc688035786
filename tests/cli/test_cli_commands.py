"""``nid detect``, ``nid cross`` and ``nid screen`` on a small DeepCTR-Torch model, in this process and in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.simulate import FieldPlan, simulate

ROOT = Path(__file__).resolve().parents[2]
FIELDS = (FieldPlan("a", 4), FieldPlan("b", 5), FieldPlan("c", 6), FieldPlan("x"))

MODELS = '''
"""Models under test."""

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM

import nid_plugins as nid

SCHEMA = nid.FeatureSchema(
    [nid.SparseField("a", 5), nid.SparseField("b", 6), nid.SparseField("c", 7), nid.DenseField("x")]
)


def deepfm():
    columns = [SparseFeat("a", 5, 4), SparseFeat("b", 6, 4), SparseFeat("c", 7, 4), DenseFeat("x", 1)]
    model = DeepFM(columns, columns, dnn_hidden_units=(16,), init_std=0.1)
    model.compile("adam", "binary_crossentropy")
    data = np.load("train.npz")
    model.fit({n: data[n] for n in SCHEMA.names}, data["label"].astype("float32"), batch_size=64, epochs=12, verbose=0)
    return model


def product(frame):
    return 0.5 * frame["a"] * (frame["b"] > 2) + frame["x"]


def pair():
    return product, SCHEMA


def wrapped():
    return nid.wrap(product, SCHEMA, output="logit")


def falls_over():
    calls = []

    def score(frame):
        calls.append(1)
        if len(calls) > 40:
            raise RuntimeError("out of memory")
        return product(frame)

    return nid.wrap(score, SCHEMA, output="logit")


def broken():
    raise OSError("no weights here")


def odd():
    return product, SCHEMA, "more"


ready = wrapped()
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a training and a validation file and a module of models."""
    path = tmp_path_factory.mktemp("work")
    log = simulate(
        2000, fields=FIELDS, planted=(("a", "b"),), strength=1.5, main=0.1, idiosyncratic=0.0, seed=0
    )
    np.savez(path / "train.npz", label=log.label, **log.frame)
    pd.DataFrame(log.frame).to_csv(path / "train.csv", index=False)
    valid = simulate(
        4000, fields=FIELDS, planted=(("a", "b"),), strength=1.5, main=0.1, idiosyncratic=0.0, seed=0
    ).rows(slice(2000, 4000))
    table = pd.DataFrame({**valid.frame, "click": valid.label, "base": valid.main_logit})
    table.to_parquet(path / "valid.parquet")
    (path / "models_under_test.py").write_text(MODELS, encoding="utf-8")
    (path / "schema.json").write_text(
        json.dumps(nid.FeatureSchema.infer(log.frame).to_dict()), encoding="utf-8"
    )
    return path


@pytest.fixture
def call(folder, monkeypatch):
    """Return a function that runs ``nid`` in that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda *arguments: CliRunner().invoke(command, list(map(str, arguments)))
    sys.modules.pop("models_under_test", None)


def detect(call, model, out, *more):
    small = ("--instances", 40, "--perturbations", 200, "--no-progress")
    return call("detect", model, "--rows", "valid.parquet", "--out", out, *small, *more)


def test_detect_cross_screen_in_a_row(call, folder, tmp_path):
    result = detect(
        call,
        "models_under_test:deepfm",
        tmp_path / "r.json",
        "--background",
        "train.csv",
        "--baseline",
        "sample",
    )
    assert result.exit_code == 0, result.output
    report = nid.InteractionReport.load(tmp_path / "r.json")
    assert report.top(1) == [("a", "b")]
    assert report.instances == 40
    assert (report.settings["baseline"], report.settings["perturbations"]) == ("sample", 200)
    assert "a x b" in result.output

    result = call(
        "cross", tmp_path / "r.json", "--train", "train.csv", "--out", tmp_path / "crosses", "--bins", 5
    )
    assert result.exit_code == 0, result.output
    crosses = nid.CrossFeatures.load(tmp_path / "crosses")
    assert crosses.names[0] == "a__x__b"
    assert all(len(edges) <= 5 for edges in crosses.edges.values())

    arguments = ("screen", tmp_path / "crosses", "--data", "valid.parquet", "--label", "click")
    result = call(*arguments, "--logits", "base", "--greedy", "--out", tmp_path / "kept")
    assert result.exit_code == 0, result.output
    assert nid.CrossFeatures.load(tmp_path / "kept").names[0] == "a__x__b"
    by_model = call(*arguments, "--model", "models_under_test:deepfm")
    assert by_model.exit_code == 0, by_model.output
    assert "a__x__b" in by_model.output


def test_the_same_in_a_real_process(folder, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters"), os.environ.get("PYTHONPATH", "")]),
    }
    arguments = (
        "detect models_under_test:pair --rows valid.parquet --instances 8 --perturbations 200 --output logit"
    )
    done = subprocess.run(
        [sys.executable, "-m", "nid_plugins", *arguments.split(), "--out", str(tmp_path / "r.json")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert nid.InteractionReport.load(tmp_path / "r.json").top(1) == [("a", "b")]


@pytest.mark.parametrize("name", ["wrapped", "ready"])
def test_a_factory_may_wrap_the_model_itself(call, tmp_path, name):
    result = detect(call, f"models_under_test:{name}", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    assert nid.InteractionReport.load(tmp_path / "r.json").top(1) == [("a", "b")]


def test_a_schema_file_serves_a_model_without_one(call, tmp_path):
    (tmp_path / "bare.py").write_text("def load():\n    return lambda frame: frame['a'] * frame['b']\n")
    sys.path.insert(0, str(tmp_path))
    bare = detect(call, "bare:load", tmp_path / "r.json", "--output", "logit")
    assert bare.exit_code == 2
    assert "schema" in bare.output
    result = detect(call, "bare:load", tmp_path / "r.json", "--schema", "schema.json", "--output", "logit")
    sys.modules.pop("bare")
    assert result.exit_code == 0, result.output


def test_settings_reach_the_detector(call, tmp_path):
    options = ("--detector", "archdetect", "--prune", "none", "--top-k", 2, "--seed", 5, "--baseline", "oov")
    result = detect(call, "models_under_test:pair", tmp_path / "r.json", "--output", "logit", *options)
    assert result.exit_code == 2  # no field of this schema reserves an id
    assert "oov" in result.output
    result = detect(call, "models_under_test:pair", tmp_path / "r.json", "--output", "logit", *options[:-2])
    assert result.exit_code == 0, result.output
    report = nid.InteractionReport.load(tmp_path / "r.json")
    assert [report.settings[name] for name in ("detector", "prune", "top_k", "seed")] == [
        "archdetect",
        "none",
        2,
        5,
    ]
    assert report.top(9) == [("a", "b")]


def test_rank_and_detector_options_reach_the_detector(call, tmp_path):
    options = ("--detector", "nid", "--detector-option", "linear=false", "--detector-option", "hidden=[8]")
    result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", "--rank", "gain", *options)
    assert result.exit_code == 0, result.output
    settings = nid.InteractionReport.load(tmp_path / "r.json").settings
    assert settings["rank"] == "gain"
    result = detect(
        call, "models_under_test:wrapped", tmp_path / "s.json", "--rank", "strength", "--redraw", "64"
    )
    assert result.exit_code == 0, result.output
    by_strength = nid.InteractionReport.load(tmp_path / "s.json").settings
    assert (by_strength["rank"], by_strength["redraw"]) == ("strength", 64)
    assert settings["options"]["linear"] is False
    assert settings["options"]["hidden"] == [8]
    for wrong in ("linear", "=1", "linear=1 --detector-option linear=2", "nosuch=1"):
        more = ("--detector", "nid", "--detector-option", *wrong.split())
        result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", *more)
        assert result.exit_code == 2
        assert "option" in result.output
        assert "Traceback" not in result.output


def test_executor_memory_and_automatic_instances_reach_the_detector(call, tmp_path):
    more = ("--instances", "auto", "--top-k", 1, "--executor", "serial", "--memory", "20KB")
    result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", *more)
    assert result.exit_code == 0, result.output
    settings = nid.InteractionReport.load(tmp_path / "r.json").settings
    assert settings["instances"] == "auto"
    assert f"{settings['instances_used']} rows explained; {settings['stopped']}" in result.output
    for wrong in (
        ("--instances", "some"),
        ("--instances", 0),
        ("--memory", "much"),
        ("--executor", "nobody"),
    ):
        result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", *wrong)
        assert result.exit_code == 2
        assert wrong[0].strip("-") in result.output
        assert "Traceback" not in result.output


def test_a_place_that_cannot_be_written_is_said_before_the_work(call, tmp_path):
    # The name of the model is wrong too: that would be the message if the place came later.
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "absent" / "r.json", tmp_path / "file" / "r.json"):
        result = detect(call, "models_under_test:no_such", out)
        assert result.exit_code == 2
        assert "no place for a file" in result.output
    result = call("demo", "--rows", 10, "--out", tmp_path / "file" / "demo")
    assert result.exit_code == 2
    assert "the folder cannot be made" in result.output
    result = call(*f"screen absent --data x --label y --logits z --out {tmp_path / 'file'}".split())
    assert result.exit_code == 2
    assert "--out names a file" in result.output


def test_a_failing_model_leaves_what_was_finished_and_a_journal_to_go_on_from(call, tmp_path):
    journal = ("--resume", tmp_path / "journal", "--perturbations", 200)
    result = detect(call, "models_under_test:falls_over", tmp_path / "r.json", *journal)
    assert result.exit_code == 2
    assert "out of memory" in result.output
    assert not (tmp_path / "r.json").exists()
    partial = nid.InteractionReport.load(tmp_path / "r.partial.json")
    assert 0 < partial.instances < 40
    result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", *journal)
    assert result.exit_code == 0, result.output
    assert nid.InteractionReport.load(tmp_path / "r.json").instances == 40


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models_under_test", "not the name of a model"),
        ("models under test:deepfm", "not the name of a model"),
        ("no_such_module:load", "there is no module 'no_such_module'"),
        ("models_under_test:no_such", "has no 'no_such'"),
        ("models_under_test:broken", "raised OSError: no weights here"),
        ("models_under_test:odd", "tuple that is not"),
    ],
)
def test_a_wrong_name_is_said_in_one_line(call, tmp_path, model, message):
    result = detect(call, model, tmp_path / "r.json")
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_options_of_a_wrapped_model_are_refused(call, tmp_path):
    result = detect(call, "models_under_test:wrapped", tmp_path / "r.json", "--output", "probability")
    assert result.exit_code == 2
    assert "wrapped model" in result.output


def test_a_pickle_is_refused_unless_allowed(call, folder, tmp_path):
    import torch

    sys.path.insert(0, "")
    import models_under_test

    model = models_under_test.deepfm()
    torch.save(model, tmp_path / "model.pt")
    refused = detect(call, tmp_path / "model.pt", tmp_path / "r.json")
    assert refused.exit_code == 2
    assert "--allow-pickle" in refused.output
    allowed = detect(call, tmp_path / "model.pt", tmp_path / "r.json", "--allow-pickle")
    assert allowed.exit_code == 0, allowed.output
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    weights = detect(call, tmp_path / "weights.pt", tmp_path / "r.json", "--allow-pickle")
    assert weights.exit_code == 2
    assert "state_dict" in weights.output


def test_nothing_in_a_pickle_runs_unasked(call, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    import pickle

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Trap()))
    assert detect(call, tmp_path / "model.pkl", tmp_path / "r.json").exit_code == 2
    assert not (tmp_path / "sprung").exists()
    detect(call, tmp_path / "model.pkl", tmp_path / "r.json", "--allow-pickle")
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle"])
def test_a_damaged_pickle_is_said_in_one_line(call, tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    result = detect(call, tmp_path / "model.pkl", tmp_path / "r.json", "--allow-pickle")
    assert result.exit_code == 2
    assert "cannot be unpickled" in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "either --model or --logits"),
        (("--logits", "base", "--model", "models_under_test:pair"), "either --model or --logits"),
        (("--logits", "nosuch"), "no such column"),
        (("--logits", "base", "--label", "nosuch"), "no such column"),
        (("--logits", "base", "--label", "x"), "labels must be 0 or 1"),
    ],
)
def test_screen_says_what_is_wrong(call, tmp_path, more, message):
    train = pd.read_csv("train.csv")
    nid.fit_crosses([("a", "b")], train, nid.FeatureSchema.infer(train)).save(tmp_path / "crosses")
    result = call("screen", tmp_path / "crosses", "--data", "valid.parquet", "--label", "click", *more)
    assert result.exit_code == 2
    assert message in result.output


def test_cross_says_what_is_wrong(call, tmp_path):
    result = call("cross", tmp_path / "absent.json", "--train", "train.csv", "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert "absent.json" in result.output
    assert "Traceback" not in result.output
    detect(call, "models_under_test:wrapped", tmp_path / "r.json")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    result = call("cross", tmp_path / "r.json", "--train", tmp_path / "other.csv", "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert "lacks columns" in result.output
