"""Graphs: the features of nodes set to zero, in the neighbourhood of the node that is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    from nid_plugins.detection.masks import Masks

Edges = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Graph(Domain):
    """Nodes of a graph. The instance is the matrix of node features, (N, F); the model gets them as (n, N, F).

    The edges stay as they are, so that the model may know them by itself; they are needed here to find the
    neighbourhood, and to show it.

    Args:
        edges: Pairs of nodes, shape (E, 2) or (2, E), read without direction; or an adjacency matrix (N, N).
        node: The node whose prediction is explained; all nodes are features when left out.
        hops: Steps from the node that count as its neighbourhood: as many as the model has layers of messages.
        off: What the features of an off node are: one number, or one a feature.
        names: Names of the nodes; their numbers when left out.
    """

    edges: Any = None
    node: int | None = None
    hops: int = 2
    off: Any = 0.0
    names: Any = None
    name: ClassVar[str] = "graph"

    def __post_init__(self) -> None:
        if self.node is not None and (
            isinstance(self.node, bool) or not isinstance(self.node, int | np.integer)
        ):
            raise SettingError(
                "node is not a number of a node", received=repr(self.node), expected="an integer"
            )
        if isinstance(self.hops, bool) or not isinstance(self.hops, int) or self.hops < 1:
            raise SettingError("hops out of range", received=repr(self.hops), expected="a positive integer")
        if self.node is not None and self.edges is None:
            raise SettingError("the neighbourhood of a node needs edges", hint="Pass edges=")

    def features(self, instance: Any) -> Features:
        """Find the neighbourhood.

        Raises:
            FrameError: The node features, the edges or the names do not fit each other.
        """
        if hasattr(instance, "detach"):
            instance = instance.detach().cpu()
        try:
            nodes = np.asarray(instance)
        except (TypeError, ValueError) as error:
            raise FrameError("not node features", received=f"{type(instance).__name__}: {error}") from error
        if nodes.ndim != 2 or 0 in nodes.shape or nodes.dtype.kind not in "biuf":
            raise FrameError(
                "not node features",
                received=f"{type(instance).__name__} of shape {nodes.shape}, dtype {nodes.dtype}",
                expected="numbers of shape (nodes, features)",
            )
        if nodes.dtype.kind == "f" and not np.isfinite(nodes).all():
            raise FrameError("node features are not finite", expected="finite numbers")
        edges = np.empty((0, 2), dtype=np.int64) if self.edges is None else _edges(self.edges, len(nodes))
        if self.node is None:
            distance = dict.fromkeys(range(len(nodes)), 0)
        else:
            if not 0 <= self.node < len(nodes):
                raise FrameError("no such node", received=self.node, expected=f"0 to {len(nodes) - 1}")
            distance = _distances(edges, int(self.node), self.hops)
        names = None if self.names is None else list(self.names)
        if names is not None and (len(names) != len(nodes) or not all(isinstance(one, str) for one in names)):
            raise FrameError(
                "names do not fit the nodes", received=f"{len(names)} names", expected=f"{len(nodes)} strings"
            )
        try:
            off = np.broadcast_to(np.asarray(self.off, dtype=np.float64), nodes.shape[1:]).astype(nodes.dtype)
        except (TypeError, ValueError) as error:
            raise SettingError(
                "off is not what a node may have",
                received=repr(self.off),
                expected=f"one number, or {nodes.shape[1]}, one a feature",
            ) from error
        return _Nodes(nodes, off, edges, distance, names)


def _edges(given: Any, count: int) -> Edges:
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    if hasattr(given, "tocoo"):  # a sparse matrix of SciPy's
        coo = given.tocoo()
        array = np.stack([coo.row, coo.col], axis=1)
    else:
        try:
            array = np.asarray(given)
        except (TypeError, ValueError) as error:
            raise FrameError("not edges", received=f"{type(given).__name__}: {error}") from error
        if array.ndim == 2 and array.shape == (count, count) and count > 2:
            array = np.argwhere(array != 0)
        elif array.ndim == 2 and array.shape[0] == 2 and array.shape[1] != 2:
            array = array.T
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise FrameError(
            "not edges",
            received=f"{type(given).__name__} of shape {array.shape}, dtype {array.dtype}",
            expected="numbers of nodes, shape (edges, 2) or (2, edges), or an adjacency matrix",
        )
    if len(array) and (array.min() < 0 or array.max() >= count):
        raise FrameError(
            "an edge to no node", received=f"{array.min()} to {array.max()}", expected=f"0 to {count - 1}"
        )
    edges: Edges = array.astype(np.int64)
    return edges


def _distances(edges: Edges, node: int, hops: int) -> dict[int, int]:
    """Return the distance of every node within ``hops`` steps, nearest first, then by number."""
    distance = {node: 0}
    for step in range(1, hops + 1):
        near = np.fromiter(distance, dtype=np.int64)
        touched = np.r_[edges[np.isin(edges[:, 0], near), 1], edges[np.isin(edges[:, 1], near), 0]]
        for other in np.unique(touched).tolist():
            distance.setdefault(other, step)
    return distance


class _Nodes(Features):
    """Nodes whose features can be replaced."""

    def __init__(
        self,
        nodes: npt.NDArray[Any],
        off: npt.NDArray[Any],
        edges: Edges,
        distance: dict[int, int],
        names: list[str] | None,
    ) -> None:
        self._nodes, self._off, self._edges, self._distance = nodes, off, edges, distance
        self._index = np.fromiter(distance, dtype=np.int64)
        self.labels = [f"node {k}" if names is None else names[k] for k in distance]
        self.nbytes = 2 * nodes.nbytes

    def batch(self, on: Masks, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return the node features with those of the off nodes replaced."""
        batch = np.repeat(self._nodes[None], len(on), axis=0)
        rows, columns = np.nonzero(~on)
        batch[rows, self._index[columns]] = self._off
        return batch

    def unswitched(self) -> npt.NDArray[np.bool_]:
        """Return the nodes that have the off features."""
        return np.asarray((self._nodes[self._index] == self._off).all(axis=1))

    def shown(self) -> dict[str, Any]:
        """Return the neighbourhood: its nodes, how far each is, and the edges among them by position."""
        place = {int(node): k for k, node in enumerate(self._index)}
        pairs = {
            (min(place[a], place[b]), max(place[a], place[b]))
            for a, b in self._edges.tolist()
            if a in place and b in place and a != b
        }
        return {
            "kind": "graph",
            "nodes": self._index.tolist(),
            "hops": list(self._distance.values()),
            "edges": [list(pair) for pair in sorted(pairs)],
        }
