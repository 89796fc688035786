"""Fields read off a frame: which columns hold ids, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals.stable.v1 as nw
import numpy as np

from nid_plugins.errors import SchemaError
from nid_plugins.frames import arrays_of, numeric_column, sources_of
from nid_plugins.schema import DenseField, Field, SparseField

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def infer_fields(
    frame: Any,
    *,
    label: str | None,
    sparse: Sequence[str] | None,
    dense: Sequence[str] | None,
    exclude: Sequence[str],
) -> list[Field]:
    """Infer fields from a frame; see :meth:`nid_plugins.FeatureSchema.infer`.

    Raises:
        FrameError: Not a frame, or a column that is not numeric.
        SchemaError: A name that is no column, or a column asked for as sparse that does not hold ids.
    """
    sources = sources_of(frame)
    wanted_sparse, wanted_dense, left_out = _names(sparse), _names(dense), _names(exclude) | _names(label)
    unknown = sorted((wanted_sparse | wanted_dense | left_out) - set(sources))
    if unknown:
        raise SchemaError("no such column", field=unknown[0], expected=f"one of {sorted(sources)}")
    both = sorted(wanted_sparse & wanted_dense)
    if both:
        raise SchemaError("asked for as sparse and as dense", field=both[0], hint="Name it once")
    fields: list[Field] = []
    columns = arrays_of({name: values for name, values in sources.items() if name not in left_out})
    for name, array in columns.items():
        values = numeric_column(name, array)
        whole = _holds_integers(array) or _is_integer_series(sources[name])
        is_sparse = name in wanted_sparse or (name not in wanted_dense and whole)
        if not is_sparse:
            fields.append(DenseField(name))
            continue
        if len(values) == 0:
            raise SchemaError("cannot infer a cardinality from no rows", field=name)
        if not np.isfinite(values).all() or (values != np.floor(values)).any() or values.min() < 0:
            known = values[~np.isnan(values)]
            raise SchemaError(
                "not a column of ids",
                field=name,
                received=(f"values from {known.min()} to {known.max()}" if len(known) else "no value")
                + (", some missing" if 0 < len(known) < len(values) else ""),
                expected="integers from 0",
                hint=f"Encode it, or pass dense=[{name!r}]",
            )
        fields.append(SparseField(name, int(values.max()) + 1))
    return fields


def _names(names: str | Sequence[str] | None) -> set[str]:
    if names is None:
        return set()
    found = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in found):
        raise SchemaError("not names of columns", received=repr(names), expected="text, or a list of it")
    return set(found)


def _holds_integers(array: npt.NDArray[Any]) -> bool:
    # Nullable columns without a missing value may still arrive as objects.
    whole = (bool, int, np.integer, np.bool_)
    return array.dtype.kind in "biu" or (array.dtype.kind == "O" and all(isinstance(v, whole) for v in array))


def _is_integer_series(values: Any) -> bool:
    # Integers with missing values may arrive as floats; that they are ids only the table still knows.
    return isinstance(values, nw.Series) and (values.dtype.is_integer() or values.dtype == nw.Boolean)
