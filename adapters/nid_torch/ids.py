"""Cross ids in the graph, from a model's ordinary inputs: the same ids as ``CrossFeatures.transform``."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nid_plugins.crosses.plan import CrossPlan
from nid_plugins.errors import FrameError
from nid_torch.lookup import KeyLookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses import CrossFeatures


class CrossIds(nn.Module):
    """Computes cross ids from tensors of the members' values; the format is that of ``docs/keys.md``.

    A sparse value that is missing, fractional or out of range, and a missing dense value, make the cross id 0.
    Bins and vocabularies are buffers, so they are saved, moved and exported with the model.

    Args:
        crosses: The crosses, fitted.
        columns: Position of each field in a matrix input; by default that of the crosses' schema.

    Attributes:
        names: Names of the crosses.
        sizes: Vocabulary size V of each cross; ids are 0 .. V.
        fields: Names of the fields that are members of some cross: sparse ones first.

    Shapes:
        Input: a mapping of field name to (n,) or (n, 1), or a matrix (n, p). Output: (n, K), int32.

    Example:
        >>> ids = CrossIds(crosses)                                   # doctest: +SKIP
        >>> ids({"site": torch.tensor([3]), "price": torch.tensor([0.5])})  # doctest: +SKIP
        tensor([[17]], dtype=torch.int32)
    """

    nid_constant = True  # forward writes to no buffer

    signature: Tensor
    edge_bits: Tensor
    edge_counts: Tensor
    cardinalities: Tensor
    sparse_at: Tensor
    dense_at: Tensor
    first_rows: Tensor

    def __init__(self, crosses: CrossFeatures, columns: Mapping[str, int] | None = None) -> None:
        super().__init__()
        plan = CrossPlan.of(crosses)
        at = columns or {name: i for i, name in enumerate(crosses.schema.names)}
        self.names = plan.names
        self.sizes = plan.sizes
        self.fields = plan.fields
        self._sparse, self._dense = plan.sparse, plan.dense
        self._padded, self._ragged = plan.padded, plan.ragged
        self._narrow = plan.narrow_ids
        self._width = 1 + max(at[name] for name in plan.fields)
        self.lookup = KeyLookup(crosses, plan)
        self._buffer("cardinalities", plan.cardinalities)
        self._buffer("first_rows", np.cumsum([0, *plan.sizes[:-1]]).reshape(-1, 1))
        self._buffer("sparse_at", [at[name] for name in plan.sparse])
        self._buffer("dense_at", [at[name] for name in plan.dense])
        # Kept as bits: .half() or .double() on the model must not move an edge.
        bits = torch.from_numpy(plan.edge_table(crosses.edges)).view(torch.int32)
        self.register_buffer("edge_bits", bits)
        self._buffer("edge_counts", plan.edge_counts)
        self.register_buffer("signature", torch.tensor(_signature(crosses)))

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return cross ids, shape (n, K).

        Raises:
            FrameError: A member's column is missing or not one value a row.
        """
        ids: Tensor = (self.rows(inputs) - self.first_rows.to(torch.int32)).clamp_(min=0).t()
        return ids

    def rows(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return rows of one table of all crosses' embeddings, shape (K, n), int32; 0 is that of the unknown.

        Raises:
            FrameError: As for :meth:`forward`.
        """
        found: Tensor = self.lookup(self._member_ids(inputs))
        return found

    def _member_ids(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return member ids, shape (fields, n); that of a missing value is the field's size."""
        parts = []
        dtype = torch.int32 if self._narrow else torch.int64
        if self._sparse:
            values = self._values(inputs, self._sparse, self.sparse_at)
            # Compared as integers: as a float32 the cardinality would be rounded, and the last ids be taken for unknown.
            whole = values.to(torch.int64)
            inside = (whole >= 0) & (whole < self.cardinalities)
            if values.is_floating_point():
                inside &= values == whole  # neither a fraction nor NaN nor infinity
            parts.append(torch.where(inside, whole, self.cardinalities).to(dtype))
        if self._dense:
            values = self._values(inputs, self._dense, self.dense_at).to(torch.float32)
            bins = torch.searchsorted(self.edge_bits.view(torch.float32), values, right=True)
            bins = torch.minimum(bins, self.edge_counts) if self._ragged else bins
            parts.append(torch.where(values.isnan(), self.edge_counts + 1, bins).to(dtype))
        if self._padded:  # the last member of crosses shorter than the longest
            parts.append(parts[0].new_zeros(1, parts[0].shape[1]))
        return _joined(parts)

    def _values(self, inputs: Tensor | Mapping[str, Tensor], names: tuple[str, ...], at: Tensor) -> Tensor:
        """Return the fields' values, shape (fields, n): rows of a field are contiguous."""
        if isinstance(inputs, Tensor):
            if inputs.ndim != 2 or inputs.shape[1] < self._width:
                raise FrameError(
                    "the input lacks a member of a cross",
                    received=f"shape {tuple(inputs.shape)}",
                    expected=f"shape (n, p), p at least {self._width}",
                    hint="Pass every field the crosses were fitted on, in the schema's order",
                )
            return inputs.detach().t().index_select(0, at)
        columns = [_column(inputs, name).detach() for name in names]
        kinds = {column.is_floating_point() for column in columns}
        if len(kinds) == 2:  # stacking would round ids to float32
            columns = [column.to(torch.float64) for column in columns]
        return torch.stack(columns)

    def _buffer(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.as_tensor(values, dtype=torch.int64), persistent=False)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # Shapes alone would let the state of other crosses in.
        saved = state_dict.get(prefix + "signature")
        if saved is not None and int(saved) != int(self.signature):
            error_msgs.append(
                f"{prefix}: saved with other crosses than {list(self.names)}; fit or load the same ones"
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{len(self.names)} crosses of {len(self.fields)} fields, {sum(self.sizes)} combinations"


def _signature(crosses: CrossFeatures) -> int:
    spec = [[cross.name, cross.fields, cross.sizes, cross.vocabulary] for cross in crosses.crosses]
    return zlib.crc32(json.dumps(spec).encode())


def _column(columns: Mapping[str, Tensor], name: str) -> Tensor:
    column = columns.get(name)
    if column is None:
        raise FrameError(
            "the input lacks a member of a cross",
            field=name,
            received=sorted(columns),
            hint="Pass every field the crosses were fitted on",
        )
    if column.ndim == 2 and column.shape[1] == 1:
        return column.squeeze(1)
    if column.ndim != 1:
        raise FrameError(
            "a member of a cross must be one value a row",
            field=name,
            received=f"shape {tuple(column.shape)}",
            expected="shape (n,) or (n, 1)",
        )
    return column


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
