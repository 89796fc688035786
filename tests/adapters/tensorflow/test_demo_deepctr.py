"""``nid demo --framework deepctr`` in a process of its own, where TensorFlow is not imported yet."""

from __future__ import annotations

import pytest
from demo_runs import SMALL, assert_a_csv_was_read, assert_silent, assert_the_whole_story, in_a_process


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Three runs in one process: importing TensorFlow takes seconds."""
    folder = tmp_path_factory.mktemp("demo")
    lines = [f"{i % 3 == 0:d},{i % 3},{i * 7 % 5},{i / 2}" for i in range(600)]
    (folder / "log.csv").write_text("click,shop,type,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bad.csv").write_text("click,shop id\n" + "0,1\n1,2\n" * 30, encoding="utf-8")
    (folder / "numbers.csv").write_text("click,price\n" + "0,1.5\n1,2.5\n" * 30, encoding="utf-8")
    read = ["--label", "click", "--framework", "deepctr", *SMALL]
    runs = [
        ["demo", "--framework", "deepctr", "--rows", "12000", *SMALL, "--out", str(folder / "out")],
        ["demo", "--data", str(folder / "log.csv"), *read],
        ["demo", "--data", str(folder / "bad.csv"), *read],
        ["demo", "--data", str(folder / "numbers.csv"), *read],
    ]
    return folder, *in_a_process(runs)


def test_the_demo_tells_the_whole_story_and_saves_it(demos):
    folder, _, (run, *_) = demos
    assert_the_whole_story(run, folder / "out", "DeepCTR")


def test_a_csv_is_read_and_trained_on(demos):
    _, _, (_, run, *_) = demos
    assert_a_csv_was_read(run)


def test_fields_deepctr_cannot_take_are_said_in_one_line(demos):
    _, _, (*_, name, numbers) = demos
    assert name[0] == numbers[0] == 2
    assert "field 'shop id': DeepCTR cannot take a field of this name" in name[1]
    assert "DeepCTR's DeepFM needs a categorical field" in numbers[1]
    assert "Traceback" not in name[1] + numbers[1]


def test_nothing_but_the_demo_is_on_the_screen(demos):
    _, stderr, runs = demos
    assert_silent(stderr, runs)
