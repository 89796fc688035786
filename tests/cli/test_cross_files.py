"""``nid cross`` on Parquet files: folders, patterns, and the training rows' ids written as Parquet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.readers import Encoder

SCHEMA = nid.FeatureSchema([nid.SparseField("a", 5), nid.SparseField("b", 6), nid.DenseField("x")])


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": rng.integers(0, 5, 400), "b": rng.integers(0, 6, 400), "x": rng.normal(size=400)}
    )


@pytest.fixture
def call(tmp_path, monkeypatch, rows):
    """Return a function that runs ``nid cross`` where a report and a folder of rows lie."""
    monkeypatch.chdir(tmp_path)
    box = nid.wrap(
        lambda frame: frame["a"] * frame["x"] + (frame["b"] > 2) * frame["a"], SCHEMA, output="logit"
    )
    nid.detect(box, rows.head(30), background=rows, instances=30, perturbations=200, top_k=2).save("r.json")
    (tmp_path / "log").mkdir()
    for i in range(4):
        rows[i * 100 : i * 100 + 100].to_parquet(f"log/{i}.parquet")
    return lambda *arguments: CliRunner().invoke(
        command, ["cross", "r.json", "--out", "crosses", "--bins", "5", *map(str, arguments)]
    )


@pytest.mark.parametrize(
    "train",
    [("log",), ("log/*.parquet",), ("log/[01].parquet", "log/2.parquet", "log/3.parquet")],
)
def test_a_folder_is_as_good_as_a_frame(call, rows, train):
    result = call(*(word for one in train for word in ("--train", one)), "--memory", "1MiB")
    assert result.exit_code == 0, result.output
    found = nid.CrossFeatures.load("crosses")
    report = nid.InteractionReport.load("r.json")
    expected = nid.fit_crosses(report, rows, SCHEMA, max_crosses=len(report.interactions), bins=5)
    assert found.names == expected.names
    assert np.array_equal(found.transform(rows), expected.transform(rows))
    for share in (expected.transform(rows) > 0).mean(axis=0):
        assert f"{share:.1%}" in result.output


def test_ids_are_written(call, rows):
    result = call("--train", "log", "--ids", "ids", "--keep", "a")
    assert result.exit_code == 0, result.output
    assert "ids: ids" in result.output
    found = nid.CrossFeatures.load("crosses")
    table = pd.read_parquet("ids")
    assert list(table.columns) == ["a", *found.names]
    assert np.array_equal(table[list(found.names)].to_numpy(), found.transform(rows))
    result = call("--train", "log", "--ids", "ids")
    assert result.exit_code == 2
    assert "something at this place" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "absent.parquet"), "no such file"),
        (("--train", "rows.csv", "--ids", "ids"), "only Parquet files"),
        (("--train", "rows.csv", "--train", "log"), "rows.csv cannot be read"),
        (("--train", "log", "--memory", "much"), "not an amount of memory"),
        (("--train", "log", "--encoder", "encoder.json"), "only Parquet files"),
    ],
)
def test_what_is_wrong(call, rows, arguments, message):
    rows.to_csv("rows.csv", index=False)
    Encoder.fit(rows, sparse=["a", "b"], dense=["x"]).save("encoder.json")
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
