"""Designs as files: what is written comes back, and what is wrong in a file is named by its key."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nid_plugins as nid
from nid_plugins import ArtefactError, NidWarning, SettingError
from nid_plugins.experiment import Design, Guardrail, Metric, Namespace, Sizing, Variant
from nid_plugins.experiment.layout import schema

if TYPE_CHECKING:
    from pathlib import Path

jsonschema = pytest.importorskip("jsonschema", reason="files of designs need the extra ab")
yaml = pytest.importorskip("yaml", reason="files of designs need the extra ab")

FULL = Design(
    "deepfm-crosses",
    seed="ß😀",
    unit="member",
    variants=(Variant("on", 0.5, "shop.models:base"), Variant("no", 0.3), Variant("1e-2", 0.2)),
    coverage=0.9,
    namespace=Namespace("feed", 0.25, 0.75),
    primary=Metric.ctr(covariate="base"),
    guardrails=(Guardrail(Metric.latency(0.95), "up", 0.1), Guardrail(Metric.calibration(), "either", 0.02)),
    metrics=(Metric.revenue(),),
    mde=0.0125,
    alpha=0.01,
    power=0.9,
    start=datetime(2030, 1, 1, tzinfo=UTC),
    stop=datetime(2030, 1, 15, 12, 30, tzinfo=timezone(timedelta(hours=-5))),
    correction="benjamini-hochberg",
    sizing=Sizing("ctr", 0.05, 8.4, 0.0125, 0.01, 0.005, 0.9, 100, {"on": 50, "no": 30, "1e-2": 20}, days=14),
    notes="Crosses raised AUC.\n\n  - site & app\n# not a comment\n",
)


@pytest.mark.parametrize("name", ["d.yaml", "d.yml", "d.json", "folder", "D.YAML"])
def test_what_is_written_comes_back(tmp_path, name):
    for design in (FULL, Design("x")):
        written = design.save(tmp_path / name)
        assert written.is_file()
        assert Design.load(tmp_path / name) == design
        assert Design.load(str(written)) == design


def test_as_a_mapping():
    spec = FULL.to_dict()
    assert spec["version"] == 1
    assert Design.from_dict(json.loads(json.dumps(spec))) == FULL
    jsonschema.validate(spec, schema())


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=12
).filter(lambda text: not set(text) & set("\u2028\u2029\ufeff") and text == text.strip())
names = words.filter(bool)
shares = st.floats(0.01, 1.0)
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - the zone is drawn
    max_value=datetime(2090, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.timezones(),
)


@st.composite
def designs(draw):
    parts = draw(st.lists(st.integers(1, 50), min_size=2, max_size=5))
    variants = draw(st.lists(names, min_size=len(parts), max_size=len(parts), unique=True))
    metric_names = draw(st.lists(names, min_size=4, max_size=4, unique=True))
    start = draw(st.none() | moments)
    return Design(
        draw(st.text(string.ascii_letters + string.digits + "_.:|-", min_size=1, max_size=20)),
        seed=draw(words),
        unit=draw(names),
        variants=tuple(Variant(n, p / sum(parts), draw(words)) for n, p in zip(variants, parts, strict=True)),
        coverage=draw(shares),
        namespace=draw(st.none() | st.builds(Namespace, names, st.floats(0.0, 0.5), st.floats(0.502, 1.0))),
        primary=Metric.ctr(covariate=draw(st.none() | names), name=metric_names[0]),
        guardrails=(
            Guardrail(Metric.latency(draw(st.floats(0.01, 0.99)), name=metric_names[1]), "up", draw(shares)),
        ),
        metrics=(Metric.revenue(draw(names), name=metric_names[2]),),
        mde=draw(st.floats(1e-6, 10.0)),
        start=start,
        stop=None if start is None else start.astimezone(UTC) + timedelta(days=draw(st.integers(1, 99))),
        notes=draw(st.text(st.sampled_from("ab:#-'\" \n\t|>{}é"), max_size=40)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(design=designs())
def test_any_design_comes_back(tmp_path_factory, design):
    folder = tmp_path_factory.mktemp("round")
    assert Design.load(design.save(folder / "d.yaml")) == design
    assert Design.load(design.save(folder / "d.json")) == design
    # Whoever reads it with PyYAML as it is gets the same.
    read = yaml.safe_load((folder / "d.yaml").read_text("utf-8"))
    assert Design.from_dict(read) == design


def test_the_file_explains_itself(tmp_path):
    text = FULL.save(tmp_path).read_text("utf-8")
    assert text.startswith("# The plan of an A/B test")
    lines = text.splitlines()
    for key in ("seed", "variants", "coverage", "primary", "mde", "guardrails", "start"):
        row = next(i for i, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert lines[row - 1].startswith("# "), key
    assert "not a comment" in text


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """Return a file of the full design with one edit."""
    text = FULL.save(tmp_path).read_text("utf-8")
    assert old in text
    path = tmp_path / "edited.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("weight: 0.3", "weight: 0.4", "variants", "overlap"),
        ("weight: 0.3", "wieght: 0.3", "variants[1].wieght", "unknown key.*Did you mean 'weight'"),
        ("weight: 0.3", "weight: half", "variants[1].weight", "its share of the units"),
        ("weight: 0.3", "weight: -0.3", "variants[1].weight", "above 0"),
        ("- name: 'no'\n", "- model: m\n", "variants[1].name", "missing key.*the name of the variant"),
        ("mde: 0.0125", "", "mde", "missing key.*smallest relative change"),
        ("mde: 0.0125", "mdee: 0.0125", "mdee", "unknown key.*Did you mean 'mde'"),
        ("mde: 0.0125", "mde: 0.1\nmde: 0.2", "mde", "twice.*line"),
        ("mde: 0.0125", "mde: ten", "mde", "such as 0.01"),
        ("mde: 0.0125", "mde: .nan", "mde", "nan"),
        ("version: 1", "", "version", "version: 1"),
        ("version: 1", "version: one", "version", "not a whole number"),
        ("version: 1", "version: 0", "version", "version: 1"),
        ("kind: quantile", "kind: quantil", "guardrails[0].metric.kind", "quantile"),
        ("    q: 0.95", "", "guardrails[0].metric.q", "missing key.*0.95"),
        ("numerator: click", "numertor: click", "primary.numertor", "Did you mean 'numerator'"),
        ("kind: mean\n  value: revenue", "kind: mean", "metrics[0].value", "missing key"),
        ("worse: either", "worse: both", "guardrails[1].worse", "up, down or either"),
        ("margin: 0.02", "margin: 2", "guardrails[1].margin", "below 1"),
        ("stop: 0.75", "stop: 0.2", "namespace.stop", "above start"),
        ("'2030-01-01T00:00:00+00:00'", "2030-01-01", "start", "without a time zone"),
        ("'2030-01-01T00:00:00+00:00'", "soon", "start", "ISO 8601"),
        ("'2030-01-01T00:00:00+00:00'", "20300101", "start", "ISO 8601"),
        ("name: deepfm-crosses", "name: deep fm", "name", "letters, digits"),
        ("units: 100", "units: many", "sizing.units", "units needed"),
        ("sizing:\n  metric: ctr", "sizing:\n  metrik: ctr", "sizing.metrik", "Did you mean 'metric'"),
        ("correction: benjamini-hochberg", "correction: sidak", "correction", "holm"),
        ("unit: member", "unit: 5", "unit", "the column of the unit ids"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_its_key(tmp_path, old, new, field, said):
    with pytest.raises(SettingError, match=f"(?s){said}") as caught:
        Design.load(edited(tmp_path, old, new))
    assert caught.value.field == field


def test_from_dict_names_the_key_too():
    spec = FULL.to_dict()
    spec["variants"][1]["weight"] = "half"
    with pytest.raises(SettingError, match="not a number") as caught:
        Design.from_dict(spec)
    assert caught.value.field == "variants[1].weight"
    with pytest.raises(SettingError, match="not a list"):
        Design.from_dict({**FULL.to_dict(), "variants": {"a": 1}})
    with pytest.raises(SettingError, match="not a mapping"):
        Design.from_dict([])


def test_numbers_as_people_write_them(tmp_path):
    assert Design.load(edited(tmp_path, "mde: 0.0125", "mde: 1e-2")).mde == 0.01
    assert Design.load(edited(tmp_path, "mde: 0.0125", "mde: 1")).mde == 1.0
    assert Design.load(edited(tmp_path, "name: 'on'", "name: yes")).control.name == "yes"
    assert Design.load(edited(tmp_path, "'2030-01-01T00:00:00+00:00'", "2030-01-01 00:00:00Z")) == FULL


@pytest.mark.parametrize("version", [2, 99])
@pytest.mark.parametrize("name", ["d.yaml", "d.json"])
def test_a_newer_version_is_refused_before_its_keys_are_judged(tmp_path, name, version):
    path = tmp_path / name
    path.write_text(json.dumps({"version": version, "arms": []}))
    with pytest.raises(ArtefactError, match="newer version") as caught:
        Design.load(path)
    assert caught.value.field == "version"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("d.yaml", "name: [", "not YAML"),
        ("d.yaml", "a: &x 1\nb: *x", "references are not taken"),
        ("d.yaml", "a: !!python/object/apply:os.getcwd []", "not YAML"),
        ("d.yaml", "1: 2", "not text: 1"),
        ("d.yaml", "\x00", "not YAML"),
        ("d.yaml", "{" * 3000, "nested too deeply"),
        ("d.json", "", "not JSON"),
        ("d.json", "{'a': 1}", "not JSON"),
        ("d.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_damaged_files(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ArtefactError, match=said):
        Design.load(path)


@pytest.mark.parametrize("text", ["", "[]", "5", "text", "null"])
def test_files_that_hold_something_else(tmp_path, text):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match="key: value"):
        Design.load(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ArtefactError, match="no such file"):
        Design.load(tmp_path / "gone.yaml")
    with pytest.raises(ArtefactError, match="no design in the folder"):
        Design.load(tmp_path)
    FULL.save(tmp_path / "design.yaml")
    FULL.save(tmp_path / "design.json")
    with pytest.raises(ArtefactError, match="two designs"):
        Design.load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ArtefactError, match="UTF-8"):
        Design.load(tmp_path / "latin.yaml")
    with pytest.raises(SettingError, match="unknown ending"):
        FULL.save(tmp_path / "design.toml")
    with pytest.raises(SettingError, match="path"):
        Design.load(3)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    FULL.save(tmp_path / "file.yaml")
    with pytest.raises(ArtefactError, match="cannot be written"):
        FULL.save(tmp_path / "file.yaml" / "design.yaml")
    assert Design.load(tmp_path / "file.yaml") == FULL
    assert [path.name for path in tmp_path.iterdir()] == ["file.yaml"]


@pytest.fixture
def crosses():
    schema = nid.FeatureSchema([nid.SparseField("site", 5), nid.SparseField("app", 5)])
    frame = {"site": [0, 1, 1, 2] * 5, "app": [0, 1, 1, 3] * 5}
    return nid.fit_crosses([("site", "app")], frame, schema, min_count=1)


def test_one_folder_says_what_is_tested_and_why(tmp_path, crosses):
    def model(frame):
        return frame["site"] * frame["app"] / 16.0 * 0.8 + 0.1

    box = nid.wrap(model, crosses.schema, output="probability")
    frame = {"site": [0, 1, 1, 2, 4], "app": [0, 1, 2, 3, 4]}
    report = nid.detect(box, frame, background=frame, detector="archdetect", instances=3)
    kept = FULL.keep(tmp_path / "test", crosses=crosses, report=report)
    assert kept.artefacts == {"crosses": "crosses", "report": "report.json"}
    found = Design.load(tmp_path / "test")
    assert found == kept
    again = nid.CrossFeatures.load(tmp_path / "test" / found.artefacts["crosses"])
    assert [cross.name for cross in again.crosses] == [cross.name for cross in crosses.crosses]
    reloaded = nid.InteractionReport.load(tmp_path / "test" / found.artefacts["report"])
    assert reloaded.interactions == report.interactions
    # Kept again without them, what is there stays named.
    assert found.keep(tmp_path / "test") == kept


def test_keeping_something_else(tmp_path, crosses):
    with pytest.raises(SettingError, match="crosses"):
        FULL.keep(tmp_path, crosses="crosses")
    with pytest.raises(SettingError, match="report"):
        FULL.keep(tmp_path, report=crosses)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="file has the folder's name"):
        FULL.keep(tmp_path / "file")
    assert not (tmp_path / "design.yaml").exists()


def test_artefacts_that_are_gone_are_said(tmp_path, crosses):
    FULL.keep(tmp_path, crosses=crosses)
    (tmp_path / "crosses").rename(tmp_path / "moved")
    with pytest.warns(NidWarning, match=r"crosses \(crosses\)"):
        Design.load(tmp_path)
