"""Layers for models with crosses: ids, embeddings, and the tower that turns them into a correction of the logit."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nid_plugins.adapting import TowerOptions, positive
from nid_torch.ids import CrossIds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.crosses import CrossFeatures

__all__ = ["CrossEmbedding", "CrossIds", "CrossTower"]


class CrossEmbedding(nn.Module):
    """Embeddings of cross ids: one table for all crosses, of which row 0, shared by every id 0, is always zero.

    A combination outside a cross's vocabulary thus adds nothing and learns nothing.

    Args:
        sizes: Vocabulary size V of each cross; ids are 0 .. V.
        dim: Length of an embedding.
        dtype: Of the table.

    Attributes:
        weight: Shape (1 + sum of V, dim), zero at first.

    Shapes:
        Input: ids (n, K). Output: (n, K, dim).
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], dim: int = 8, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.sizes = tuple(int(size) for size in sizes)
        self.dim = positive("dim", dim)
        starts = np.cumsum([0, *self.sizes[:-1]], dtype=np.int64)
        self.register_buffer("offsets", torch.from_numpy(starts), persistent=False)
        self.weight = nn.Parameter(torch.zeros(1 + sum(self.sizes), self.dim, dtype=dtype))

    def forward(self, ids: Tensor) -> Tensor:
        """Return embeddings, shape (n, K, dim)."""
        return self.of_rows((ids + self.offsets) * (ids > 0))

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return embeddings for rows of the table, shape (n, K), as :meth:`nid_torch.ids.CrossIds.rows` gives them."""
        return nn.functional.embedding(rows, self.weight, padding_idx=0)

    @torch.no_grad()
    def set_embeddings(self, k: int, values: npt.NDArray[np.floating]) -> None:
        """Set the embeddings of cross ``k`` to an array of shape (V + 1, dim), of which row 0 is left out."""
        start = int(self.offsets[k]) + 1
        self.weight[start : start + self.sizes[k]] = torch.as_tensor(
            values[1:], dtype=self.weight.dtype, device=self.weight.device
        )

    def embeddings(self, k: int) -> npt.NDArray[np.float32]:
        """Return a copy of the embeddings of cross ``k``, shape (V + 1, dim), float32; row 0 is zero."""
        start = int(self.offsets[k]) + 1
        own = self.weight.detach()[start : start + self.sizes[k]].to("cpu", torch.float32)
        return torch.cat([own.new_zeros(1, self.dim), own]).numpy()

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{len(self.sizes)} crosses, {len(self.weight)} rows, dim={self.dim}"


class CrossTower(nn.Module):
    """What crosses add to a logit: ``delta = w @ e``, with ``e`` the K embeddings of a row side by side.

    The embeddings start at zero and ``w`` does not, so that delta is exactly 0 at first and one step of training moves
    it. There is no bias anywhere: a row none of whose crosses is known keeps delta 0 for good.

    Embeddings given to start from keep their values. There it is ``w`` that starts at zero, for the same reason.

    Args:
        crosses: The crosses, fitted.
        columns: Position of each field in a matrix input; by default that of the crosses' schema.
        dim: Length of an embedding.
        hidden: Widths of the layers of an MLP without biases on ``e``, beside ``w @ e``; none by default. The linear
            path stays: the gradient of a ReLU network is zero at ``e = 0``.
        dropout: Rate of dropout on ``e``.
        l2: Weight of the squared norm of the table in :meth:`penalty`.
        embeddings: Cross name to array (V + 1, dim) to start from, e.g. of ``nid.cross_embeddings``; row 0 is ignored.
        train_embeddings: Whether the table is trained.
        train_projection: Whether ``w`` and the MLP are trained.
        seed: Of the initial ``w`` and MLP. The global random state is neither used nor changed.
        dtype: Of the parameters.

    Raises:
        SettingError: An option is out of its domain, or embeddings do not fit the crosses.

    Shapes:
        Input: as :class:`~nid_torch.ids.CrossIds`. Output: (n, 1).
    """

    def __init__(
        self,
        crosses: CrossFeatures,
        columns: Mapping[str, int] | None = None,
        *,
        dim: int = 8,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        l2: float = 0.0,
        embeddings: Mapping[str, npt.NDArray[Any]] | None = None,
        train_embeddings: bool = True,
        train_projection: bool = True,
        seed: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        options = TowerOptions.of(
            crosses,
            dim=dim,
            hidden=hidden,
            dropout=dropout,
            l2=l2,
            embeddings=embeddings,
            train_embeddings=train_embeddings,
            train_projection=train_projection,
            seed=seed,
        )
        self.l2 = options.l2
        self.names = crosses.names
        self.ids = CrossIds(crosses, columns)
        self.embedding = CrossEmbedding(crosses.vocabulary_sizes, options.dim, dtype=dtype)
        self.dropout = nn.Dropout(options.dropout)
        widths = [len(crosses) * options.dim, *options.hidden]
        self.projection = _linear(widths[0], 1, dtype)
        self.mlp = nn.Sequential()
        for into, out in itertools.pairwise(widths):
            self.mlp.extend([_linear(into, out, dtype), nn.ReLU()])
        if len(widths) > 1:
            self.mlp.append(_linear(widths[-1], 1, dtype))
        self._reset(options.seed, options.embeddings)
        self.embedding.requires_grad_(options.train_embeddings)
        self.projection.requires_grad_(options.train_projection)
        self.mlp.requires_grad_(options.train_projection)

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return delta, shape (n, 1)."""
        wide = self.dropout(self.embedding.of_rows(self.ids.rows(inputs).t()).flatten(1))
        delta: Tensor = self.projection(wide)
        return delta + self.mlp(wide) if len(self.mlp) else delta

    def penalty(self) -> Tensor:
        """Return ``l2`` times the squared norm of the table, to be added to the loss."""
        return self.l2 * self.embedding.weight.square().sum()

    def cross_embeddings(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the embeddings of each cross, shape (V + 1, dim); row 0 is zero."""
        return {name: self.embedding.embeddings(k) for k, name in enumerate(self.names)}

    @torch.no_grad()
    def _reset(self, seed: int, given: Mapping[str, npt.NDArray[Any]]) -> None:
        generator = torch.Generator().manual_seed(seed)
        dim = self.embedding.dim
        # Unit norm a cross, on average: under SGD an embedding then learns as fast as a weight of a linear model.
        self.projection.weight.normal_(std=dim**-0.5, generator=generator)
        layers = [layer for layer in self.mlp if isinstance(layer, nn.Linear)]
        for layer in layers:
            layer.weight.normal_(std=math.sqrt(2 / layer.in_features), generator=generator)
        for k, name in enumerate(self.names):
            if name in given:
                self.embedding.set_embeddings(k, given[name])
                self.projection.weight[:, k * dim : (k + 1) * dim] = 0
        if given and layers:
            layers[-1].weight.zero_()


def _linear(into: int, out: int, dtype: torch.dtype | None) -> nn.Linear:
    # Without the usual initialisation, which would draw from the global random state.
    return nn.Linear(into, out, bias=False, dtype=dtype, device="meta").to_empty(device="cpu")
