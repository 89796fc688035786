"""Rows as a DeepCTR model takes them: a mapping by name, with the sequences of multi-valued columns filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_deepctr.graph import read_inputs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nid_deepctr.graph import MultiValued

Arrays = dict[str, npt.NDArray[Any]]


class Feeder:
    """A callable for ``inputs=``: from a dict of columns to a model's arguments.

    A multi-valued column gets the sequence of one id: that id, then zeros. Its length, where the model takes it, is 1, or
    0 for id 0, and the weight of each id is 1. Inputs there is no column for are zero.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._multi = read_inputs(model)[1]
        self._own = {
            name: (tensor.dtype.as_numpy_dtype, tuple(size or 1 for size in tensor.shape[1:]))
            for name, tensor in zip(model.input_names, model.inputs, strict=True)
        }

    def __call__(self, columns: Mapping[str, npt.NDArray[Any]]) -> tuple[tuple[Arrays], Arrays]:
        """Return ``(args, kwargs)`` for columns of shape (n,)."""
        n = len(next(iter(columns.values())))
        given: Arrays = {}
        for name, values in columns.items():
            given[name] = values
            if name in self._multi:
                given |= _sequences(name, values, self._multi[name])
        return ({name: self._shaped(name, given.get(name), n) for name in self._own},), {}

    def _shaped(self, name: str, values: npt.NDArray[Any] | None, n: int) -> npt.NDArray[Any]:
        dtype, shape = self._own[name]
        if values is None:
            return np.zeros((n, *shape), dtype)
        return np.ascontiguousarray(values.astype(dtype, copy=False).reshape(n, *shape))


def _sequences(name: str, ids: npt.NDArray[Any], how: MultiValued) -> Arrays:
    first = np.zeros((len(ids), how.maxlen), ids.dtype)
    first[:, 0] = ids
    out: Arrays = {name: first}
    if how.length is not None:
        out[how.length] = (ids != 0).astype(np.int64)
    if how.weight is not None:
        out[how.weight] = np.ones_like(first, np.float32)
    return out


def member_values(
    inputs: Mapping[str, Any], members: Collection[str], multi: Mapping[str, MultiValued]
) -> dict[str, Any]:
    """Return the symbolic inputs crosses are made of, the first id of a multi-valued one."""
    return {
        name: inputs[name][:, :1] if name in multi else inputs[name] for name in inputs if name in members
    }
