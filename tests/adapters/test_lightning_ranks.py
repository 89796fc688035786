"""Distributed training with crosses injected on the way: two processes on CPU, which must agree and must not hang."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("lightning_ranks.py")
LIMIT = 240
"""Seconds after which processes that wait for each other are ended, and the test fails."""


def launched(scenario, directory):
    """Run a scenario on two ranks; return exit codes and outputs. No process outlives this."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        place = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": 2, "MASTER_PORT": port}
        environment = {
            **os.environ,
            **{name: str(value) for name, value in place.items()},
            "MASTER_ADDR": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, str(SCRIPT), scenario, str(directory)]
        processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        outputs = [process.communicate(timeout=LIMIT)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [process.returncode for process in processes], outputs


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks found in each scenario."""
    directory = tmp_path_factory.mktemp("ranks")
    codes, outputs = launched("main", directory)
    assert codes == [0, 0], "\n".join(outputs)
    return [torch.load(directory / f"{rank}.pt", weights_only=False) for rank in range(2)]


def learned(result):
    """Return the weights without batch norm's statistics, which each rank has of its own rows."""
    return {name: w for name, w in result["weights"].items() if "running" not in name}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("scenario", ["trained", "accumulated", "plain", "unused parameters"])
def test_all_ranks_have_the_same_crosses_and_stay_the_same(ranks, scenario):
    first, second = (rank[scenario] for rank in ranks)
    assert first["status"] == second["status"] == "injected"
    assert first["crosses"] == second["crosses"]
    assert first["groups"] == second["groups"]
    assert "cross_tower.embedding.weight" in first["weights"]
    assert first["weights"]["cross_tower.embedding.weight"].any()
    assert_equal_weights(learned(first), learned(second))
    assert first["losses"] != second["losses"]  # each has rows of its own


def test_two_ranks_learn_what_one_process_with_their_rows_learns(ranks):
    one, two = ranks[0]["alone"], ranks[0]["plain"]
    assert one["crosses"] == two["crosses"]
    halves = zip(two["losses"], ranks[1]["plain"]["losses"], strict=True)
    assert one["losses"] == pytest.approx([(a + b) / 2 for a, b in halves], rel=1e-4)
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_resumed_run_ends_as_the_uninterrupted_one(ranks, epoch):
    for rank in ranks:
        whole, resumed = rank["trained"], rank[f"resumed {epoch}"]
        assert resumed["losses"] == whole["losses"][8 * (epoch + 1) :]
        assert resumed["rates"] == whole["rates"][8 * (epoch + 1) :]
        assert_equal_weights(learned(whole), learned(resumed))


def test_only_the_first_rank_looks(ranks):
    assert [rank["trained"]["checks"] for rank in ranks] == [5, 0]


@pytest.mark.parametrize("failing", [0, 1])
def test_when_one_rank_fails_none_injects_and_training_goes_on(ranks, failing):
    for number, rank in enumerate(ranks):
        result = rank[f"rank {failing} fails"]
        assert result["status"] == "failed"
        assert len(result["losses"]) == 5 * 8
        assert not any(name.startswith("cross_tower") for name in result["weights"])
        # What rank 1 cannot do all ranks must hear of; what rank 0 found out is said once.
        said = [text for text in result["warnings"] if "training goes on without" in text]
        assert len(said) == (number == 0 or failing == 1)
    assert_equal_weights(*(learned(rank[f"rank {failing} fails"]) for rank in ranks))


def test_freezing_the_base_is_refused_at_the_start(ranks):
    assert [rank["frozen"] for rank in ranks] == ["UnsupportedError"] * 2


def test_an_interruption_of_the_first_rank_reaches_the_others(ranks):
    assert [rank["interrupted"] for rank in ranks] == ["KeyboardInterrupt", "NidError"]


def test_the_others_end_when_the_first_process_dies(tmp_path):
    codes, outputs = launched("dying", tmp_path)
    assert codes[0] == 3, outputs[0]
    assert codes[1] != 0, outputs[1]
