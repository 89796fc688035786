"""A DeepFM as a plain PyTorch module (Guo et al., IJCAI 2017)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from nid_plugins.cli.frameworks.base import Recipe
    from nid_plugins.schema import FeatureSchema


class DeepFM(nn.Module):
    """A linear part, products of every two embeddings, and an MLP on embeddings and dense values; returns logits.

    Args:
        schema: The fields.
        recipe: Sizes, dropout and penalty.
        seed: Of the initial weights. The global random state is left as it is.

    Shapes:
        Input: a matrix (n, p), a column a field in schema order. Output: logits (n,).
    """

    sparse: Tensor
    dense: Tensor
    offsets: Tensor

    def __init__(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> None:
        super().__init__()
        sparse = [j for j, field in enumerate(schema) if isinstance(field, SparseField)]
        dense = [j for j in range(len(schema)) if j not in sparse]
        # One table for all fields: the ids of each start where those of the field before it end.
        starts = np.cumsum([0, *(field.cardinality for field in schema.sparse)])
        self.register_buffer("sparse", torch.tensor(sparse, dtype=torch.int64), persistent=False)
        self.register_buffer("dense", torch.tensor(dense, dtype=torch.int64), persistent=False)
        self.register_buffer("offsets", torch.from_numpy(starts[:-1].astype(np.int64)), persistent=False)
        self.l2 = recipe.l2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(int(starts[-1]), recipe.dim)
            self.embedding.weight.data.mul_(recipe.init_std)
            self.wide = nn.Embedding(int(starts[-1]), 1)
            self.wide.weight.data.zero_()
            self.linear = nn.Linear(len(dense), 1) if dense else None
            widths = [len(sparse) * recipe.dim + len(dense), *recipe.hidden]
            self.deep = nn.Sequential()
            for into, out in itertools.pairwise(widths):
                self.deep.extend([nn.Linear(into, out), nn.ReLU(), nn.Dropout(recipe.dropout)])
            self.deep.append(nn.Linear(widths[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        ids = x[:, self.sparse].long() + self.offsets
        dense = x[:, self.dense]
        embedded = self.embedding(ids)
        pairs = 0.5 * (embedded.sum(1).square() - embedded.square().sum(1)).sum(1)
        logit: Tensor = self.deep(torch.cat([embedded.flatten(1), dense], 1)).squeeze(1)
        logit = logit + self.wide(ids).sum(1).squeeze(1) + pairs
        return logit if self.linear is None else logit + self.linear(dense).squeeze(1)

    def penalty(self) -> Tensor:
        """Return what is added to the loss."""
        return self.l2 * self.embedding.weight.square().sum()
