"""In which batches a detection's instances are explained."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection import prepared
from nid_plugins.detection.executors import SerialExecutor


class Noting(SerialExecutor):
    """One item after the other, noting how many instances each has."""

    def __init__(self):
        self.sizes = []

    def map(self, function, items):
        def noted():
            for item in items:
                self.sizes.append(len(item.targets))
                yield item

        return super().map(function, noted())


def detected(rows, fields=5, **settings):
    schema = nid.FeatureSchema([nid.DenseField(f"x{i}") for i in range(fields)])
    frame = {name: np.random.default_rng(i).normal(size=rows) for i, name in enumerate(schema.names)}
    box = nid.wrap(lambda m: m[:, 0] * m[:, 1] + m[:, 2], schema, output="logit", inputs="matrix")
    noting = Noting()
    settings = {"instances": rows, "perturbations": 60, "progress": False, **settings}
    return nid.detect(box, frame, executor=noting, **settings), noting.sizes


@pytest.mark.parametrize(
    ("rows", "fields", "instances", "size"),
    [
        (prepared.MANY - 1, 5, prepared.MANY - 1, 16),
        (prepared.MANY, 5, prepared.MANY, 32),
        (prepared.MANY, 5, "auto", 16),
        (prepared.MANY, 52, prepared.MANY, 16),
    ],
)
def test_groups_are_large_in_long_runs_of_not_too_many_fields(rows, fields, instances, size):
    detector = "least_squares" if fields < 50 else "archdetect"
    _, sizes = detected(rows, fields, instances=instances, detector=detector)
    assert set(sizes[:-1]) == {size}
    assert sizes[-1] <= size


def test_a_resumed_run_has_the_groups_of_the_first(tmp_path):
    whole, _ = detected(prepared.MANY)
    detected(prepared.MANY, resume=tmp_path / "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "run.jsonl").write_text("".join(lines[: 1 + 100]), "utf-8")
    again, sizes = detected(prepared.MANY, resume=tmp_path / "run.jsonl")
    assert again == whole
    assert sum(sizes) == prepared.MANY - 96, "three groups of 32 are not asked again"
