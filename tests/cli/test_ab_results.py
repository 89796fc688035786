"""``nid ab simulate`` and ``nid ab analyze``: what they print and write, their exit status, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nid_plugins.cli import nid as command
from nid_plugins.experiment import AAResult, Analysis, Design, Guardrail, Metric, Variant, assign

for needed in ("ibis", "duckdb", "tea_tasting", "jinja2", "yaml", "jsonschema"):
    pytest.importorskip(needed, reason="nid ab needs the extra ab")

DESIGN = Design(
    "shop-1",
    unit="user",
    variants=(Variant("base", 0.5), Variant("crosses", 0.5)),
    guardrails=(Guardrail(Metric.latency(0.95), margin=0.2),),
    mde=0.1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plan, its exposures and clicks, and past logs without any effect."""
    at = tmp_path_factory.mktemp("ab")
    rng = np.random.default_rng(5)
    units = np.repeat(np.arange(1500), 5)
    treated = assign(DESIGN, units) == 1
    names = np.where(treated, "crosses", "base")
    frame = pd.DataFrame(
        {
            "experiment": DESIGN.name,
            "unit": units.astype(str),
            "variant": names,
            "served": names,
            "fallback": False,
            "impression": [f"i{i}" for i in range(len(units))],
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC")
            + pd.to_timedelta(np.arange(len(units)), "min")
            + pd.Timedelta(123456, "us"),
            "latency_ms": rng.gamma(4.0, 2.0, len(units)).astype(np.float32),
        }
    )
    frame.to_parquet(at / "exposures.parquet")
    clicked = rng.random(len(units)) < np.where(treated, 0.30, 0.2)
    ids = [*frame.loc[clicked, "impression"], "nobody's"]
    pd.DataFrame({"impression": ids}).to_parquet(at / "clicks.parquet")
    past = frame[["unit", "timestamp"]].assign(click=(rng.random(len(units)) < 0.2).astype(np.int8))
    past.to_parquet(at / "past.parquet")
    DESIGN.keep(at / "plan")
    return at


def run(folder, *words):
    """Run ``nid ab``; {} in a word is the folder."""
    arguments = ["ab", *(word.format(folder) for word in words)]
    return CliRunner(env={"COLUMNS": "100"}).invoke(command, arguments, prog_name="nid")


LOGS = ("--exposures", "{}/exposures.parquet", "--clicks", "{}/clicks.parquet")


def test_a_result_is_printed_and_written(folder, tmp_path):
    page, data = tmp_path / "result.html", tmp_path / "result.json"
    done = run(folder, "analyze", "{}/plan", *LOGS, "--html", str(page), "--json", str(data))
    assert done.exit_code == 0, done.output
    assert "Ship crosses" in done.output
    assert "clicks without exposure" in done.output
    assert "Always valid" in done.output
    assert f"page: {page}" in done.output.replace("\n", "")
    result = Analysis.load(data)
    assert (result.decision, result.variant) == ("ship", "crosses")
    assert page.read_text("utf-8") == result.page().html()
    assert result.effect().relative_low > 0.1
    assert json.loads(data.read_text("utf-8"))["decision"] == "ship"


def test_fixed_only(folder):
    done = run(folder, "analyze", "{}/plan/design.yaml", *LOGS, "--fixed")
    assert done.exit_code == 0, done.output
    assert "Always valid" not in done.output


def test_text_files_give_the_same_and_ids_in_them_stay_text(folder, tmp_path):
    frame = pd.read_parquet(folder / "exposures.parquet")
    frame["unit"] = "00" + frame["unit"]
    frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    frame.to_csv(tmp_path / "exposures.csv", index=False)
    clicks = pd.read_parquet(folder / "clicks.parquet")
    clicks.to_csv(tmp_path / "clicks.csv.gz", index=False)
    logs = ("--exposures", str(tmp_path / "exposures.csv"), "--clicks", str(tmp_path / "clicks.csv.gz"))
    results = []
    for words in (LOGS, logs):
        done = run(folder, "analyze", "{}/plan", *words, "--json", str(tmp_path / "result.json"))
        assert done.exit_code == 0, done.output
        results.append(Analysis.load(tmp_path / "result.json"))
    fixed, other = (result.effect() for result in results)
    assert fixed.relative == pytest.approx(other.relative, rel=1e-9)
    assert fixed.relative_low == pytest.approx(other.relative_low, rel=1e-9)
    assert results[0].units == results[1].units
    assert results[0].last == results[1].last
    frame.assign(timestamp="soon").to_csv(tmp_path / "exposures.csv", index=False)
    done = run(folder, "analyze", "{}/plan", *logs)
    assert done.exit_code == 2
    assert "has times that are none" in done.output


def test_a_sample_ratio_that_is_off_is_exit_status_three(folder, tmp_path):
    frame = pd.read_parquet(folder / "exposures.parquet")
    lost = (frame["variant"] == "crosses") & (frame["unit"].astype(int) % 4 == 0)
    frame[~lost].to_parquet(tmp_path / "lossy.parquet")
    done = run(folder, "analyze", "{}/plan", "--exposures", str(tmp_path / "lossy.parquet"), *LOGS[2:])
    assert done.exit_code == 3
    assert "Invalid: do not read the effects" in done.output


def test_a_a_runs_on_past_logs(folder, tmp_path):
    data = tmp_path / "aa.json"
    words = ("--logs", "{}/past.parquet", "--runs", "300", "--looks", "10", "--json", str(data))
    done = run(folder, "simulate", "{}/plan", *words)
    assert done.exit_code == 0, done.output
    assert "The tests keep their promise on these logs" in done.output
    result = AAResult.load(data)
    assert result.rate("fixed").runs == 300
    assert result.rate("fixed").low <= 0.05 <= result.rate("fixed").high
    assert result.rate("sequential").low <= 0.05
    assert "fixed with peeking" in done.output


def test_with_an_effect_the_rates_are_powers(folder):
    words = ("--logs", "{}/past.parquet", "--runs", "100", "--looks", "5", "--effect", "0.5")
    done = run(folder, "simulate", "{}/plan", *words)
    assert done.exit_code == 0, done.output
    assert "Simulated power of shop-1" in done.output
    assert "100 experiments with an effect of +50.00% put in" in done.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ibis calls what DuckDB 1.5 renamed
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("analyze", "{}/none", *LOGS), "none"),
        (("analyze", "{}/plan", "--exposures", "{}/none.parquet"), "there are no exposures"),
        (("analyze", "{}/plan", *LOGS, "--html", "{}/none/result.html"), "no place for a file"),
        (("simulate", "{}/plan", "--logs", "{}/past.parquet", "--runs", "0"), "runs"),
        (("simulate", "{}/plan", "--logs", "{}/exposures.parquet"), "click"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, words, said):
    done = run(folder, *words)
    assert done.exit_code == 2
    assert done.output.startswith("nid: ")
    assert said in done.output
    assert len(done.output.splitlines()) == 1


def test_the_group_lists_its_commands_in_their_order():
    done = CliRunner().invoke(command, ["ab", "--help"])
    lines = [line.split()[0] for line in done.output.split("Commands:")[1].splitlines() if line.strip()]
    assert [word for word in lines if word in {"design", "assign", "simulate", "analyze"}] == [
        "design",
        "assign",
        "simulate",
        "analyze",
    ]
    assert CliRunner().invoke(command, ["ab", "none"]).exit_code == 2


def test_help_loads_nothing_heavy():
    heavy = ("pandas", "ibis", "duckdb", "tea_tasting", "jinja2", "nid_plugins.experiment")
    code = (
        "import sys; from nid_plugins.cli import nid\n"
        "for words in (['--help'], ['ab', 'analyze', '--help']):\n"
        "    nid.main(words, standalone_mode=False)\n"
        f"print('loaded:', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")
