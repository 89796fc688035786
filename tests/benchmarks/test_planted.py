"""The planted benchmark's measures, its rivals, and the loop that stands for the paper's code."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.detection import MaskDesign, random_masks
from nid_plugins.simulate import World

pytest.importorskip("torch", reason="the source models are PyTorch models")

from benchmarks import planted_ctr
from benchmarks.paper_loop import explain_one

A, B, C, D = (frozenset(s) for s in ("ab", "cd", "xyz", "ef"))


def test_score_counts_exact_sets_and_relevant_pairs():
    planted = [A, C]
    ranking = [frozenset("xy"), B, A, frozenset("yz"), C, frozenset("xz")]
    assert planted_ctr.relevant_pairs(planted) == [A, *map(frozenset, ("xy", "xz", "yz"))]
    found = planted_ctr.score(ranking, planted)
    assert found == {"recall_k": 0.0, "recall_2k": 0.5, "recall_triples_2k": 0.0, "pairs": 0.75}
    assert planted_ctr.score([C, A], planted)["recall_triples_2k"] == 1.0


def test_interaction_information_finds_planted_pairs_and_is_no_straw_man():
    log = World(seed=1).draw(30_000)
    ranked = planted_ctr.information(log)
    relevant = planted_ctr.relevant_pairs(log.planted_sets)
    best = ranked["interaction information"][: len(relevant)]
    assert sum(pair in relevant for pair in best) / len(relevant) > 0.6
    assert len(ranked["mutual information"]) == 17 * 16 / 2


def test_models_learn_and_keep_their_best_weights():
    log = World(seed=2).draw(3_000)
    import torch

    matrix = np.stack([log.frame[n].astype(np.float32) for n in log.schema.names], axis=1)
    data = {
        part: (torch.from_numpy(matrix[at]), torch.from_numpy(log.label[at].astype(np.float32)))
        for part, at in (("train", slice(0, 2000)), ("valid", slice(2000, None)))
    }
    for name in ("MLP", "DeepFM", "AutoInt"):
        model, probability = planted_ctr.build(name, log.schema, 0)
        loss = torch.nn.functional.binary_cross_entropy
        with torch.no_grad():
            start = model(data["valid"][0])[:, 0]
        start = start if probability else torch.sigmoid(start)
        passes = planted_ctr.train(model, probability, data, 0, epochs=3)
        with torch.no_grad():
            end = model(data["valid"][0])[:, 0]
        end = end if probability else torch.sigmoid(end)
        assert 1 <= passes <= 3
        assert loss(end, data["valid"][1]) < loss(start, data["valid"][1])


def test_the_loop_finds_a_pair():
    masks = random_masks(6, 1200, np.random.default_rng(0))
    found = explain_one(MaskDesign(masks), 2.0 * masks[:, 1] * masks[:, 4] + masks[:, 0], 0)
    assert found.r2 > 0.95
    assert np.unravel_index(np.argmax(found.pairs), found.pairs.shape) in {(1, 4), (4, 1)}


def test_records_made_again_take_the_places_of_the_old_ones():
    told = {"log": 0, "baseline": "mode", "prune": "gain"}
    before = [
        {**told, "model": "-", "method": "mutual information", "pairs": 0.1},
        {**told, "model": "MLP", "method": "nid", "auc": 0.8, "pairs": 0.2},
        {**told, "model": "MLP", "method": "archdetect", "auc": 0.8, "pairs": 0.3},
    ]
    now = [{**before[1], "pairs": 0.4}]
    assert planted_ctr.renewed(before, now) == [before[0], now[0], before[2]]
    with pytest.raises(RuntimeError, match="other models than before"):
        planted_ctr.renewed(before, [{**now[0], "auc": 0.7}])
