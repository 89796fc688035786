"""Graphs: are the two neighbours found that decide about a node together?

A graph is a random tree with a few more edges, its nodes red, blue or grey. A node's label is whether there are both red and
blue nodes within two steps of it, or neither, which no sum over neighbours can tell. A graph convolutional network of
two layers, in plain PyTorch, learns it on many graphs. The explained nodes have one red and one blue node within two
steps; these two are the planted pair.

Run: python -m benchmarks.domains_graph
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import write
from benchmarks.domains_common import DETECTORS, explain_all, first_is, head, quality, row

NODES = 30
HOPS = 2


def graph(rng: np.random.Generator) -> tuple[Any, Any]:
    """Return edges (E, 2) and node features (NODES, 4): one-hot type and a constant."""
    edges = {(int(rng.integers(0, k)), k) for k in range(1, NODES)}
    while len(edges) < NODES + 4:
        a, b = sorted(rng.choice(NODES, 2, replace=False).tolist())
        edges.add((a, b))
    kinds = rng.choice(3, NODES, p=(0.1, 0.1, 0.8))
    return np.array(sorted(edges)), np.c_[np.eye(3)[kinds], np.ones(NODES)].astype(np.float32)


def neighbourhoods(edges: Any) -> Any:
    """Return which nodes are within two steps of each, shape (NODES, NODES)."""
    near = np.eye(NODES)
    near[edges[:, 0], edges[:, 1]] = near[edges[:, 1], edges[:, 0]] = 1
    return (near @ near) > 0


def adjacency(edges: Any) -> torch.Tensor:
    """Return the adjacency matrix with every node its own neighbour, divided by the roots of the degrees."""
    near = torch.eye(NODES)
    near[edges[:, 0], edges[:, 1]] = near[edges[:, 1], edges[:, 0]] = 1.0
    root = near.sum(1).rsqrt()
    return near * root[:, None] * root[None, :]


class GCN(nn.Module):
    """Two graph convolutions and two linear layers a node."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 32), nn.Linear(32, 32)
        self.out = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """Return logits (..., nodes) of node features (..., nodes, 4)."""
        h = (near @ self.first(x)).relu()
        h = (near @ self.second(h)).relu()
        logits: torch.Tensor = self.out(h)[..., 0]
        return logits


def labels_of(edges: Any, nodes: Any) -> Any:
    """Return the label of each node: whether red and blue are both near, or both far."""
    near = neighbourhoods(edges)
    red, blue = near @ nodes[:, 0] > 0, near @ nodes[:, 1] > 0
    return red == blue


def train(graphs: list[tuple[Any, Any]], epochs: int) -> nn.Module:
    """Return a fitted network."""
    x = torch.tensor(np.array([nodes for _, nodes in graphs]))
    near = torch.stack([adjacency(edges) for edges, _ in graphs])
    y = torch.tensor(np.array([labels_of(*one) for one in graphs])).float()
    model = GCN()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            loss(model(x[part], near[part]), y[part]).backward()
            optimiser.step()
    return model.eval()


def main(count: int = 100) -> None:
    """Run it and write the result."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = train([graph(rng) for _ in range(1500)], epochs=40)
    fresh = [graph(rng) for _ in range(400)]
    right, cases = [], []
    for edges, nodes in fresh:
        near = neighbourhoods(edges)
        with torch.no_grad():
            logits = model(torch.tensor(nodes), adjacency(edges)).numpy()
        truth = labels_of(edges, nodes)
        right.append(((logits > 0) == truth).mean())
        for node in range(NODES):
            reds, blues = (np.flatnonzero(near[node] & (nodes[:, k] > 0)) for k in (0, 1))
            if len(reds) == len(blues) == 1 and logits[node] > 0:
                cases.append((edges, nodes, node, {int(reds[0]), int(blues[0])}))
    cases = [cases[k] for k in rng.permutation(len(cases))[:count]]
    rows = []
    for detector, off in [*((name, "grey") for name in DETECTORS), (DETECTORS[0], "zero")]:
        found, planted, seconds = [], [], 0.0
        for edges, nodes, node, pair in cases:
            near = adjacency(edges)

            def scores(batch: Any, near: torch.Tensor = near, node: int = node) -> Any:
                with torch.no_grad():
                    return model(torch.tensor(batch), near)[:, node].numpy()

            some, took = explain_all(
                scores,
                [nodes],
                [{"edges": edges, "node": node}],
                domain="graph",
                hops=HOPS,
                off=[0, 0, 1, 1] if off == "grey" else 0.0,
                output="logit",
                target=1,
                detector=detector,
                perturbations=3000,
            )
            found += some
            seconds += took
            places = {int(k): place for place, k in enumerate(some[0].shown["nodes"])}
            planted.append({places[k] for k in pair})
        rows.append(
            {
                "detector": detector,
                "off": off,
                "features": float(np.mean([len(one.labels) for one in found])),
                **first_is(found, planted),
                **quality(found),
                "seconds": seconds / len(cases),
            }
        )
        print(rows[-1])
    write("domains_graph", {"accuracy": float(np.mean(right)), "rows": rows})


def table(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = head(
        "detector",
        "an off node is",
        "planted pair first",
        "found at all",
        "nodes explained",
        "R\u00b2 linear",
        "R\u00b2 with interactions",
    )
    for one in result["rows"]:
        name = "grey" if one["off"] == "grey" else "all zero"
        numbers = (f"{one['first']:.1%}", f"{one['found']:.1%}", one["instances"], f"{one['r2_linear']:.3f}")
        lines.append(row((f"`{one['detector']}`", name, *numbers, f"{one['r2']:.3f}")))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
