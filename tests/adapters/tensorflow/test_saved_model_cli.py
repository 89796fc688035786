"""``nid detect`` on the folder of a SavedModel."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import tensorflow as tf
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command


def test_the_interaction_of_a_saved_model_is_detected(tmp_path):
    class Planted(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name) for name in "abc"])
        def __call__(self, a, b, c):
            return {"p": tf.sigmoid(tf.cast(tf.bitwise.bitwise_and(a, b) + c, tf.float32) - 1.0)}

    model = Planted()
    tf.saved_model.save(model, str(tmp_path / "served"), signatures={"serving_default": model.__call__})
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.integers(0, 2, (300, 3)), columns=list("abc")).to_csv(tmp_path / "rows.csv", index=False)
    schema = nid.FeatureSchema([nid.SparseField(name, 2) for name in "abc"])
    (tmp_path / "schema.json").write_text(json.dumps(schema.to_dict()), encoding="utf-8")
    arguments = ["detect", str(tmp_path / "served"), "--rows", str(tmp_path / "rows.csv"), "--schema"]
    arguments += [str(tmp_path / "schema.json"), "--out", str(tmp_path / "r.json"), "--output", "probability"]
    arguments += ["--instances", "40", "--perturbations", "200", "--baseline", "sample", "--no-progress"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert nid.InteractionReport.load(tmp_path / "r.json").interactions[0].fields == ("a", "b")
    empty = CliRunner().invoke(command, ["detect", str(tmp_path), *arguments[2:]])
    assert empty.exit_code != 0
    assert "no adapter claims" in str(empty.exception) + empty.output
