"""A serving process killed in the middle of its requests: what it answered can be read."""

from __future__ import annotations

import os
import signal

import pytest

from nid_plugins.experiment import ParquetSink, read_exposures

SERVER = """
import sys, threading
import numpy as np
import torch
from torch import nn
import nid_plugins as nid
from nid_plugins.experiment import Design, ParquetSink, Router

folder, limit = sys.argv[1], float(sys.argv[2]) or None
torch.set_num_threads(1)
schema = nid.FeatureSchema([nid.SparseField("site", 50), nid.DenseField("price")])
model_of = lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
rng = np.random.default_rng(0)

def moody(columns):
    if rng.random() < 0.3:
        raise OSError("gone")
    return np.full(len(columns["site"]), 0.5)

models = {"control": model_of(), "treatment": nid.wrap(moody, schema, output="probability")}
router = Router(Design("exp"), models, schema, sinks=[ParquetSink(folder, rows=300)], limit_ms=limit)
say = threading.Lock()

def serve(thread):
    number = 0
    while True:
        frame = {"site": np.arange(16) % 50, "price": np.ones(16)}
        names = [f"{thread}-{number}-{i}" for i in range(16)]
        router.predict(frame, [f"u{i}" for i in range(16)], impressions=names)
        with say:  # only after the answer
            sys.stdout.write(f"{thread}-{number}\\n")
            sys.stdout.flush()
        number += 1

for thread in range(8):
    threading.Thread(target=serve, args=(thread,)).start()
"""


@pytest.mark.parametrize("limit_ms", [0, 1000])
def test_every_request_that_was_answered_is_on_the_disk_once(tmp_path, python, limit_ms):
    process = python(SERVER, tmp_path, limit_ms)
    answered = []
    for line in process.stdout:
        answered.append(line.strip())
        if len(answered) == 150:
            break
    os.kill(process.pid, signal.SIGKILL)
    # The last line may have been cut short; it counts only with its end.
    answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    assert process.wait() == -signal.SIGKILL
    table = read_exposures(tmp_path)
    logged = table["impression"].to_pylist()
    assert len(logged) == len(set(logged))
    requests = {name.rpartition("-")[0] for name in logged}
    assert set(answered) <= requests
    assert len(logged) == 16 * len(requests)  # a request is there as a whole or not at all
    assert len(requests) - len(answered) <= 8  # at most one a thread was logged and not yet answered
    fallbacks = table.filter(table["fallback"])
    assert len(fallbacks) > 0
    assert {"raised OSError"} <= set(fallbacks["reason"].to_pylist()) <= {"raised OSError", "paused"}
    ParquetSink(tmp_path).close()
    assert sorted(read_exposures(tmp_path)["impression"].to_pylist()) == sorted(logged)
    assert list((tmp_path / "_open").iterdir()) == []


FORKING = """
import os, sys
import numpy as np
import nid_plugins as nid
from nid_plugins.experiment import Design, ParquetSink, Router

schema = nid.FeatureSchema([nid.SparseField("site", 50)])
box = nid.wrap(lambda columns: np.full(len(columns["site"]), 0.5), schema, output="probability")
router = Router(Design("exp"), {"control": box, "treatment": box}, sinks=[ParquetSink(sys.argv[1])], limit_ms=10_000)

def serve(who):
    for number in range(5):
        names = [f"{who}-{number}-{i}" for i in range(16)]
        answer = router.predict({"site": np.arange(16)}, [f"u{i}" for i in range(16)], impressions=names)
        assert not answer.fallback.any()

serve("before")  # with a thread and an open file that the children do not have
children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        serve(f"child{child}")
        router.close()
        os._exit(0)
    children.append(pid)
serve("after")
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
router.close()
"""


def test_a_server_may_fork_after_the_router_was_made_and_used(tmp_path, python):
    process = python(FORKING, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    expected = [
        f"{who}-{number}-{i}"
        for who in ("before", "child0", "child1", "after")
        for number in range(5)
        for i in range(16)
    ]
    assert sorted(read_exposures(tmp_path)["impression"].to_pylist()) == sorted(expected)
    assert list((tmp_path / "_open").iterdir()) == []
