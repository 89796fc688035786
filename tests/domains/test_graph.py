"""Graphs: the neighbourhood in every form of edges, and the two nodes a model needs together."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.domains import Graph

PATH = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [1, 6]])
NODES = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def matrix(edges):
    near = np.zeros((8, 8), int)
    near[edges[:, 0], edges[:, 1]] = 1
    return near


def test_the_neighbourhood_in_every_form_of_edges():
    sparse = pytest.importorskip("scipy.sparse", reason="one of the forms is its")
    torch = pytest.importorskip("torch", reason="one of the forms is its")
    for edges in (
        PATH,
        PATH.T,
        PATH.tolist(),
        matrix(PATH),
        sparse.csr_matrix(matrix(PATH)),
        torch.tensor(PATH.T),
    ):
        features = Graph(edges=edges, node=2, hops=2).features(NODES)
        assert features.labels == [f"node {k}" for k in (2, 1, 3, 0, 4, 6)]
        assert features.shown()["hops"] == [0, 1, 1, 2, 2, 2]
        assert features.shown()["edges"] == [[0, 1], [0, 2], [1, 3], [1, 5], [2, 4]]


def test_off_nodes_have_no_features_and_the_others_stay():
    features = Graph(edges=PATH, node=0, hops=1).features(NODES)
    whole, half = features.batch(np.array([[1, 1], [1, 0]], bool), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, NODES)
    assert half[1].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(np.delete(half, 1, 0), np.delete(NODES, 1, 0))
    assert half.dtype == NODES.dtype
    other = Graph(off=(1, 2, 3), names=list("abcdefgh")).features(NODES)
    assert other.labels == list("abcdefgh")
    assert other.batch(np.zeros((1, 8), bool), np.random.default_rng(0))[0, 5].tolist() == [1, 2, 3]


@pytest.mark.parametrize("detector", ["least_squares", "nid", "gradient_nid", "archdetect"])
def test_two_neighbours_that_act_together(detector):
    found = nid.explain(
        lambda nodes: 3.0 * nodes[:, 1].sum(1) * nodes[:, 3].sum(1) + nodes[:, 2, 0],
        NODES,
        domain="graph",
        edges=PATH,
        node=2,
        hops=1,
        output="score",
        detector=detector,
        perturbations=300,
    )
    assert [one.labels for one in found] == [("node 1", "node 3")]


@pytest.mark.parametrize(
    ("nodes", "options", "error", "message"),
    [
        (np.zeros(3), {}, nid.FrameError, "not node features"),
        (np.full((3, 2), np.nan), {}, nid.FrameError, "not finite"),
        ([["a"]], {}, nid.FrameError, "not node features"),
        (NODES, {"edges": [[0, 9]]}, nid.FrameError, "an edge to no node"),
        (NODES, {"edges": np.zeros((3, 4), int)}, nid.FrameError, "not edges"),
        (NODES, {"edges": [[0.5, 1.0], [1, 2], [2, 3]]}, nid.FrameError, "not edges"),
        (NODES, {"edges": PATH, "node": 8}, nid.FrameError, "no such node"),
        (NODES, {"names": ["a"]}, nid.FrameError, "names do not fit"),
        (NODES, {"off": (1, 2)}, nid.SettingError, "off is not what a node may have"),
        (NODES, {"node": 2}, nid.SettingError, "needs edges"),
        (NODES, {"edges": PATH, "node": "2"}, nid.SettingError, "node is not a number"),
        (NODES, {"hops": 0}, nid.SettingError, "hops out of range"),
    ],
)
def test_what_does_not_fit(nodes, options, error, message):
    with pytest.raises(error, match=message):
        Graph(**options).features(nodes)


def test_a_node_without_neighbours_has_nothing_to_explain():
    with pytest.raises(nid.FrameError, match=r"too few features; received: 1: \['node 7'\]"):
        nid.explain(lambda x: x[:, 7, 0], NODES, domain="graph", edges=PATH, node=7, output="score")
