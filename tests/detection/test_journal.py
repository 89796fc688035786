"""The journal: a killed or failed run goes on where it stopped, and no other file is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.journal import FORMAT, VERSION, InstanceResult, Journal, fingerprint

SETTINGS = {"instances": 40, "perturbations": 200, "progress": False}


def result(index=3, **changes):
    values = {
        "index": index,
        "sets": [(0, 1), (1, 2, 4)],
        "strengths": [0.1 + 0.2, 1e-17],
        "gains": [0.25, float("nan")],
        "r2": 1 / 3,
        "r2_linear": float("nan"),
        "pairs": np.array([0.1, 2.5, 0.0], dtype=np.float32),
        "saturated": 7,
    }
    return InstanceResult(**{**values, **changes})


def same(a, b):
    assert (a.index, a.sets, a.strengths, a.saturated) == (b.index, b.sets, b.strengths, b.saturated)
    np.testing.assert_array_equal([*a.gains, a.r2, a.r2_linear], [*b.gains, b.r2, b.r2_linear])
    if a.pairs is None:
        assert b.pairs is None
    else:
        np.testing.assert_array_equal(a.pairs, b.pairs)


@pytest.mark.parametrize("changes", [{}, {"pairs": None}, {"sets": [], "strengths": [], "gains": []}])
def test_a_line_round_trips_to_the_last_bit(changes):
    before = result(**changes)
    line = before.to_json()
    assert "\n" not in line
    assert "NaN" not in line
    after = InstanceResult.from_json(json.loads(line))
    same(before, after)
    assert after.to_json() == line


def test_written_instances_come_back(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, "print", np.array([1.0, 2.0]))
    assert journal.done == {}
    for i in (0, 2):
        journal.add(result(i))
    journal.close()
    again = Journal(path, "print", np.array([1.0, 2.0 + 1e-6]))
    assert sorted(again.done) == [0, 2]
    same(again.done[2], result(2))
    again.add(result(1))
    again.close()
    third = Journal(path, "print", np.array([1.0, 2.0]))
    assert sorted(third.done) == [0, 1, 2]
    third.close()
    header = json.loads(path.read_text().splitlines()[0])
    assert header["format"] == FORMAT
    assert header["version"] == VERSION


def test_each_instance_is_on_disk_as_soon_as_it_is_added(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, "print", np.zeros(1))
    for i in range(3):
        journal.add(result(i))
        assert len(path.read_text().splitlines()) == 2 + i
    journal.close()


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_line_is_dropped_and_written_anew(tmp_path, cut):
    path = tmp_path / "journal"
    journal = Journal(path, "print", np.zeros(1))
    journal.add(result(0))
    journal.add(result(1))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    again = Journal(path, "print", np.zeros(1))
    assert list(again.done) == [0]
    again.add(result(1))
    again.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("keep", [0, 1, 12, 45, 80])
def test_a_torn_header_is_written_anew(tmp_path, keep):
    path = tmp_path / "journal"
    Journal(path, "print", np.zeros(1)).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    again = Journal(path, "print", np.zeros(1))
    assert again.done == {}
    again.close()
    assert path.read_bytes() == whole


def test_fingerprint_tells_everything_apart():
    rows, background = np.ones((2, 3)), np.zeros((4, 3))
    base = fingerprint({"seed": 0, "options": {"x": [1]}}, {"fields": ["a"]}, rows, background)
    assert base == fingerprint(
        {"options": {"x": (1,)}, "seed": 0}, {"fields": ["a"]}, rows.copy(), background
    )
    others = {
        fingerprint({"seed": 1, "options": {"x": [1]}}, {"fields": ["a"]}, rows, background),
        fingerprint({"seed": 0, "options": {"x": [2]}}, {"fields": ["a"]}, rows, background),
        fingerprint({"seed": 0, "options": {"x": [1]}}, {"fields": ["b"]}, rows, background),
        fingerprint({"seed": 0, "options": {"x": [1]}}, {"fields": ["a"]}, rows * 2, background),
        fingerprint({"seed": 0, "options": {"x": [1]}}, {"fields": ["a"]}, rows, background + 1e-9),
    }
    assert len(others | {base}) == 6


FOREIGN = {
    "text": b"dear diary\nnothing happened\n",
    "one line without end": b"dear diary",
    "JSON": b'{"format": "something else", "version": 1}\n',
    "JSON without end": b'{"format": "something else"}',
    "a report": b'{\n "format": "nid-plugins/interaction-report"\n}\n',
    "a list": b"[1, 2, 3]\n",
    "bytes": bytes(range(256)),
    "a journal-like format": b'{"format": "nid-plugins/detection-journal-of-someone"}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_left_untouched(box, frame, tmp_path, kind):
    path = tmp_path / "precious"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(nid.ArtefactError, match="not a journal.*untouched"):
        nid.detect(box, frame, resume=path, **SETTINGS)
    assert path.read_bytes() == FOREIGN[kind]


@pytest.mark.parametrize("what", ["directory", "under a file", "no such folder"])
def test_a_path_that_cannot_be_a_file(box, frame, tmp_path, what):
    path = tmp_path
    if what == "under a file":
        (tmp_path / "file").write_text("x")
        path = tmp_path / "file" / "journal"
    elif what == "no such folder":
        path = tmp_path / "absent" / "journal"
    with pytest.raises(nid.ArtefactError, match="the journal cannot be (read|written)"):
        nid.detect(box, frame, resume=path, **SETTINGS)


@pytest.mark.parametrize("resume", [3, True, ["run.jsonl"]])
def test_what_is_no_path_is_refused_before_the_model_is_asked(planted, schema, frame, resume):
    asked = []
    box = nid.wrap(lambda c: asked.append(1) or planted(c), schema, output="logit")
    with pytest.raises(nid.SettingError, match="not a journal file; received:"):
        nid.detect(box, frame, resume=resume, instances=4, perturbations=100, progress=False)
    assert not asked


def test_a_newer_version_is_refused_and_left_untouched(box, frame, tmp_path):
    path = tmp_path / "journal"
    nid.detect(box, frame, resume=path, **SETTINGS)
    lines = path.read_text().splitlines(keepends=True)
    header = {**json.loads(lines[0]), "version": VERSION + 1}
    path.write_text(json.dumps(header) + "\n" + "".join(lines[1:]))
    before = path.read_bytes()
    with pytest.raises(nid.ArtefactError, match="newer version.*Upgrade"):
        nid.detect(box, frame, resume=path, **SETTINGS)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["not json", "[]", '{"index": 3}', '{"index": 3, "sets": 5}'])
def test_a_damaged_line_in_the_middle_is_named_and_left(box, frame, tmp_path, damage):
    path = tmp_path / "journal"
    nid.detect(box, frame, resume=path, **SETTINGS)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], damage + "\n", *lines[5:]]))
    before = path.read_bytes()
    with pytest.raises(nid.ArtefactError, match="line 5 of the journal is damaged.*start afresh"):
        nid.detect(box, frame, resume=path, **SETTINGS)
    assert path.read_bytes() == before


OTHER_SETTINGS = {
    "seed": {"seed": 1},
    "perturbations": {"perturbations": 201},
    "instances": {"instances": 39},
    "top_k": {"top_k": 3},
    "prune": {"prune": "none"},
    "min_gain": {"min_gain": 0.01},
    "candidates": {"candidates": 7},
    "redraw": {"redraw": 64},
    "detector": {"detector": "archdetect"},
    "options": {"options": {"orders": 2}},
    "baseline": {"baseline": "sample"},
}


@pytest.mark.parametrize("what", OTHER_SETTINGS)
def test_other_settings_are_refused(box, frame, tmp_path, what):
    path = tmp_path / "journal"
    nid.detect(box, frame, resume=path, **SETTINGS)
    before = path.read_bytes()
    with pytest.raises(nid.ArtefactError, match="other rows, background or settings"):
        nid.detect(box, frame, resume=path, **{**SETTINGS, **OTHER_SETTINGS[what]})
    assert path.read_bytes() == before


def test_other_rows_background_schema_and_epsilon_are_refused(box, planted, schema, frame, tmp_path):
    path = tmp_path / "journal"
    nid.detect(box, frame, resume=path, background=frame, **SETTINGS)
    other = {**frame, "b": frame["b"] + 0.001}
    fields = list(schema)
    fields[0] = nid.SparseField("a", 9)
    cases = {
        "rows": (box, other, frame),
        "background": (box, frame, other),
        "schema": (nid.wrap(planted, nid.FeatureSchema(fields), output="logit"), frame, frame),
        "epsilon": (nid.wrap(planted, schema, output="logit", epsilon=1e-3), frame, frame),
    }
    for what, (wrapped, rows, background) in cases.items():
        with pytest.raises(nid.ArtefactError, match="other rows, background or settings"):
            nid.detect(wrapped, rows, resume=path, background=background, **SETTINGS)
        assert what
    again = nid.detect(box, frame, resume=path, background=frame, **SETTINGS)
    assert again == nid.detect(box, frame, background=frame, **SETTINGS)


def test_another_model_is_refused(box, planted, schema, frame, tmp_path):
    path = tmp_path / "journal"
    nid.detect(box, frame, resume=path, **SETTINGS)
    other = nid.wrap(lambda c: planted(c) * 1.01, schema, output="logit")
    with pytest.raises(nid.ArtefactError, match="another model.*same weights"):
        nid.detect(other, frame, resume=path, **SETTINGS)


def test_the_executor_may_change(box, frame, tmp_path):
    path = tmp_path / "journal"
    whole = nid.detect(box, frame, executor="serial", resume=path, **SETTINGS)
    assert nid.detect(box, frame, executor="threads", resume=path, **SETTINGS) == whole


def test_a_finished_run_asks_the_model_only_to_know_it_again(planted, schema, frame, tmp_path):
    asked = []

    def counting(columns):
        asked.append(len(columns["a"]))
        return planted(columns)

    box = nid.wrap(counting, schema, output="logit")
    first = nid.detect(box, frame, resume=tmp_path / "journal", **SETTINGS)
    assert sum(asked) == 8 + 40 * 200
    asked.clear()
    again = nid.detect(box, frame, resume=tmp_path / "journal", **SETTINGS)
    assert asked == [8]
    assert again == first


SCRIPT = """
import os, signal, sys
import numpy as np
import nid_plugins as nid

path, deadly, executor, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
rng = np.random.default_rng(5)
frame = {"a": rng.integers(0, 4, 50), "b": rng.normal(size=50), "c": rng.normal(size=50)}
schema = nid.FeatureSchema([nid.SparseField("a", 4), nid.DenseField("b"), nid.DenseField("c")])
calls = 0

def model(columns):
    global calls
    calls += 1
    if calls == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    noise = np.sin(1e4 * columns["c"])  # so that selection has something to be uncertain about
    return columns["a"] * columns["b"] + columns["b"] * columns["c"] + 0.3 * noise

box = nid.wrap(model, schema, output="logit")
report = nid.detect(box, frame, detector="nid", options={"epochs": 6, "hidden": (8,)}, instances=40,
                    perturbations=150, executor=executor, resume=path or None, progress=False)
report.save(out)
print(calls)
"""


@pytest.fixture
def run(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def call(journal, deadly, executor, out):
        return subprocess.run(
            [sys.executable, str(script), str(journal), str(deadly), executor, str(out)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return call


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_killed_run_goes_on_to_the_same_report(run, tmp_path, executor):
    journal = tmp_path / "journal"
    # One call to know the model, one an instance: it dies in the third group of sixteen.
    killed = run(journal, 1 + 36, executor, tmp_path / "never.json")
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "never.json").exists()
    lines = journal.read_text().splitlines()
    if executor == "serial":
        assert len(lines) == 1 + 32
    # A kill may also come in the middle of a write.
    with journal.open("a") as file:
        file.write('{"index": 33, "sets": [[0,')

    resumed = run(journal, 0, executor, tmp_path / "resumed.json")
    assert resumed.returncode == 0, resumed.stderr
    if executor == "serial":
        assert int(resumed.stdout) == 1 + 8, "only what was left is asked"
    whole = run("", 0, "serial", tmp_path / "whole.json")
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / "resumed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    report = nid.InteractionReport.load(tmp_path / "whole.json")
    assert report.instances == 40
    assert report.top(1) in ([("a", "b")], [("b", "c")])
    finished = [json.loads(line)["index"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(set(finished)) == list(range(40))


@pytest.mark.parametrize("executor", ["serial", "threads"])
@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_model_that_fails_half_way(planted, schema, frame, tmp_path, executor, how):
    calls = []

    def failing(columns):
        calls.append(1)
        out = planted(columns)
        if len(calls) == 1 + 25 and broken:
            if how == "raises":
                raise RuntimeError("out of memory")
            out[3] = np.nan
        return out

    box = nid.wrap(failing, schema, output="logit")
    path = tmp_path / "journal"
    broken = True
    with pytest.raises(nid.ModelError, match="out of memory|returned NaN") as caught:
        nid.detect(box, frame, resume=path, executor=executor, **SETTINGS)
    partial = caught.value.partial
    assert partial.instances == 24, "what was answered before the failure is explained"
    assert partial.settings["instances_used"] == 24
    assert set(partial.top(2)) == {("a", "b"), ("c", "d")}
    kept = [json.loads(line)["index"] for line in path.read_text().splitlines()[1:]]
    assert kept == list(range(24))

    broken = False
    calls.clear()
    resumed = nid.detect(box, frame, resume=path, executor=executor, **SETTINGS)
    assert resumed == nid.detect(nid.wrap(planted, schema, output="logit"), frame, **SETTINGS)
    assert len(calls) == 1 + 24, "the first group of sixteen is not asked again"


def test_a_failure_at_the_first_instance_has_no_partial_report(schema, frame):
    def failing(columns):
        raise RuntimeError("no")

    with pytest.raises(nid.ModelError, match="raised RuntimeError.*: no") as caught:
        nid.detect(nid.wrap(failing, schema, output="logit"), frame, **SETTINGS)
    assert caught.value.partial is None
    assert isinstance(caught.value.__cause__, RuntimeError)
