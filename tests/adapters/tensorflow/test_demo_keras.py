"""``nid demo --framework keras`` in a process of its own, where TensorFlow is not imported yet."""

from __future__ import annotations

import pytest
from demo_runs import SMALL, assert_a_csv_was_read, assert_silent, assert_the_whole_story, in_a_process


def read(path, *more):
    return ["demo", "--data", str(path), "--label", "click", "--framework", "keras", *SMALL, *more]


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    lines = [f"{i * i % 5 == 1:d},{i % 3},{i * 7 % 5},{i / 2}" for i in range(600)]
    (folder / "log.csv").write_text("click,shop id,sum,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bad.csv").write_text("click,a/b\n" + "0,1\n1,2\n" * 30, encoding="utf-8")
    runs = [
        ["demo", "--framework", "keras", "--rows", "12000", *SMALL, "--out", str(folder / "out")],
        read(folder / "log.csv", "--out", str(folder / "csv")),
        read(folder / "bad.csv"),
        ["demo", "--framework", "deepctr", "--rows", "1000"],
    ]
    return folder, *in_a_process(runs, PYTHONHASHSEED="0")


def test_the_demo_tells_the_whole_story_and_saves_it(demos):
    folder, _, (run, *_) = demos
    assert_the_whole_story(run, folder / "out", "Keras 3")


def test_a_csv_is_read_and_trained_on(demos):
    _, _, (_, run, *_) = demos
    assert_a_csv_was_read(run)


def test_the_same_seed_gives_the_same_model_in_another_process(demos):
    folder, *_ = demos
    _, ((code, output),) = in_a_process(
        [read(folder / "log.csv", "--out", str(folder / "again"))], PYTHONHASHSEED="1"
    )
    assert code == 0, output
    first, again = ((folder / name / "results.json").read_bytes() for name in ("csv", "again"))
    assert first == again


def test_a_name_keras_cannot_take_is_said_in_one_line(demos):
    _, _, (_, _, (code, output), _) = demos
    assert code == 2
    assert "field 'a/b': Keras cannot take a field of this name" in output
    assert "Traceback" not in output


def test_where_tensorflow_is_imported_already_deepctr_says_what_to_set_and_when(demos):
    _, _, (*_, (code, output)) = demos
    assert code == 2
    assert (
        "DeepCTR needs TF_USE_LEGACY_KERAS=1 in the environment before tensorflow is first imported" in output
    )
    assert "Traceback" not in output


def test_nothing_but_the_demo_is_on_the_screen(demos):
    _, stderr, runs = demos
    assert_silent(stderr, runs)
