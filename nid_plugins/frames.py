"""Reading frames: anything tabular in, one checked float64 matrix in schema order out.

Inside the package rows are a C-contiguous ``(n, p)`` float64 array, columns in schema order. Ids up to 2**53 are
exact in it, and masks, baselines and adapters need only one kind of array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
from narwhals.exceptions import DuplicateError

from nid_plugins.errors import FrameError
from nid_plugins.schema import FeatureSchema, SparseField

FloatMatrix = npt.NDArray[np.float64]


def columns_of(frame: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the frame's columns as 1-D NumPy arrays (views where the source allows it).

    Args:
        frame: Mapping of name to 1-D array, or any eager table narwhals reads (pandas, Polars, Arrow, ...).

    Raises:
        FrameError: Not a frame, a column that is not 1-D, or columns of different lengths.
    """
    return arrays_of(sources_of(frame))


def sources_of(frame: Any) -> dict[str, Any]:
    """Return the frame's columns by name as they are: narwhals' series of a table, anything of a mapping.

    Raises:
        FrameError: Not a frame, or two columns of one name.
    """
    if isinstance(frame, Mapping):
        sources = {str(name): values for name, values in frame.items()}
        if len(sources) < len(frame):
            raise FrameError(
                "two columns have the same name",
                received=[repr(name) for name in frame],
                expected="names that differ as text",
                hint="Rename or drop one",
            )
        return sources
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise FrameError(
            "not a frame",
            received=type(frame).__name__,
            expected="a mapping of name to 1-D array, or a pandas, Polars or Arrow table",
            hint="Collect lazy tables first",
        ) from None
    except DuplicateError as error:
        raise FrameError(
            "two columns have the same name",
            received=" ".join(str(error).split()),
            hint="Rename or drop one",
        ) from error
    return {str(name): table.get_column(name) for name in table.columns}


def arrays_of(sources: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return columns as :func:`sources_of` has them as 1-D NumPy arrays.

    Raises:
        FrameError: A column is not 1-D, or columns differ in length.
    """
    columns = {name: _as_array(name, values) for name, values in sources.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise FrameError(
            "columns differ in length", received=lengths, expected="the same number of rows in each"
        )
    return columns


def _as_array(name: object, values: Any) -> npt.NDArray[Any]:
    if isinstance(values, nw.Series):
        native = values.to_native()
        values = native if _is_arrow(native) else values.to_numpy()
    if _is_arrow(values):
        if str(values.type).startswith("dictionary<"):
            # Its nulls would be read as the dictionary's last word.
            values = values.cast(values.type.value_type)
        values = np.asarray(values)
    if hasattr(values, "detach"):  # a torch tensor, possibly with gradients or on another device
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # which NumPy has not
            values = values.float()
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        if values.dtype.kind in "biuf":
            values = np.ma.filled(values.astype(np.float64), np.nan)
        else:  # objects and text, which may be no numbers
            hidden, values = np.ma.getmaskarray(values), np.array(values.data, dtype=object)
            values[hidden] = None
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise FrameError(
            "a column must be 1-D", field=str(name), received=str(error), expected="shape (n,)"
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise FrameError(
            "a column must be 1-D",
            field=str(name),
            received=f"shape {array.shape}",
            expected="shape (n,)",
            hint="Pass one array a field; for a single row pass arrays of length 1",
        )
    return array


def _is_arrow(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "pyarrow" and hasattr(values, "type")


def numeric_column(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a column as float64.

    Raises:
        FrameError: The dtype is not numeric.
    """
    if array.dtype.kind in "OUS" or array.dtype.kind not in "biuf":
        converted = _nullable(array)
        if converted is None:
            raise FrameError(
                "not numeric",
                field=name,
                received=f"dtype {array.dtype}",
                expected="integers (sparse) or numbers (dense)",
                hint="Encode strings as integer ids first, with the encoding the model was trained on",
            )
        return converted
    return array.astype(np.float64, copy=False)


def _nullable(array: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    # pandas' nullable integers arrive as object arrays of ints and NA; strings must not slip through as numbers.
    if array.dtype.kind != "O":
        return None
    out = np.empty(len(array), dtype=np.float64)
    for i, value in enumerate(array):
        if isinstance(value, bool | int | float | np.integer | np.floating | np.bool_):
            try:
                out[i] = float(value)
            except OverflowError:  # an int beyond float64
                out[i] = np.inf if value > 0 else -np.inf
        elif value is None or type(value).__name__ == "NAType":
            out[i] = np.nan
        else:
            return None
    return out


def read_matrix(
    frame: Any,
    schema: FeatureSchema,
    *,
    what: str = "frame",
    missing: bool = False,
    known_only: bool = True,
    allow_empty: bool = False,
) -> FloatMatrix:
    """Read a frame into a checked ``(n, p)`` float64 matrix in schema order.

    Args:
        frame: Any frame; extra columns are ignored.
        schema: The fields wanted.
        what: Name of the frame in error messages.
        missing: Whether NaN is allowed (crosses give it id 0; models must not see it).
        known_only: Whether ids outside ``0 .. cardinality - 1`` are an error (else they pass through).
        allow_empty: Whether a frame without rows is allowed.

    Returns:
        Array of shape (n, len(schema)).

    Raises:
        FrameError: Missing column, non-numeric dtype, id out of range or fractional, NaN or infinity, no rows.
    """
    columns = schema_columns(frame, schema, what=what, allow_empty=allow_empty)
    return matrix_of(columns, schema, what=what, missing=missing, known_only=known_only)


def schema_columns(
    frame: Any, schema: FeatureSchema, *, what: str = "frame", allow_empty: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """Return a frame's columns that are fields of a schema, in its order, as they are; see :func:`read_matrix`.

    Raises:
        FrameError: Missing column, columns of different lengths, no rows.
    """
    sources = sources_of(frame)
    absent = [name for name in schema.names if name not in sources]
    if absent:
        raise FrameError(
            f"the {what} lacks columns",
            field=absent[0],
            received=f"missing {absent}, has {sorted(sources)}",
            expected=f"all of {list(schema.names)}",
            hint="Rename the columns or change the schema",
        )
    columns = arrays_of({name: sources[name] for name in schema.names})
    n = len(columns[schema.names[0]])
    if n == 0 and not allow_empty:
        raise FrameError(f"the {what} has no rows", received="0 rows", expected="at least one row")
    return columns


def matrix_of(
    columns: Mapping[str, npt.NDArray[Any]],
    schema: FeatureSchema,
    *,
    what: str = "frame",
    missing: bool = False,
    known_only: bool = True,
) -> FloatMatrix:
    """Return the columns of a schema as a checked matrix; see :func:`read_matrix`.

    Raises:
        FrameError: Non-numeric dtype, id out of range or fractional, NaN or infinity.
    """
    matrix = np.empty((len(columns[schema.names[0]]), len(schema)), dtype=np.float64)
    for j, field in enumerate(schema):
        matrix[:, j] = numeric_column(field.name, columns[field.name])
    check_matrix(matrix, schema, what=what, missing=missing, known_only=known_only)
    return matrix


def check_matrix(
    matrix: FloatMatrix,
    schema: FeatureSchema,
    *,
    what: str = "frame",
    missing: bool = False,
    known_only: bool = True,
) -> None:
    """Check that a matrix in schema order holds finite numbers and ids the fields know.

    Raises:
        FrameError: As for :func:`read_matrix`.
    """
    finite = np.isfinite(matrix)
    if missing:
        finite |= np.isnan(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        bad = int((~finite[:, column]).sum())
        raise FrameError(
            f"the {what} holds values that are not finite",
            field=schema.names[column],
            received=f"{matrix[row, column]} at row {row} ({bad} such rows)",
            expected="finite numbers",
            hint="Impute missing values as in the model's training, or drop those rows",
        )
    for j, field in enumerate(schema):
        if isinstance(field, SparseField):
            _check_ids(matrix[:, j], field, what=what, known_only=known_only)


def _check_ids(ids: npt.NDArray[np.float64], field: SparseField, *, what: str, known_only: bool) -> None:
    present = ids if not np.isnan(ids).any() else ids[~np.isnan(ids)]
    if not len(present):
        return
    fractional = present != np.floor(present)
    if fractional.any():
        row = int(np.flatnonzero(fractional)[0])
        raise FrameError(
            f"ids of the {what} must be whole numbers",
            field=field.name,
            received=present[row],
            expected="integer ids",
            hint="Declare the field as DenseField, or encode it",
        )
    if not known_only:
        return
    low, high = present.min(), present.max()
    if low < 0 or high >= field.cardinality:
        bad = low if low < 0 else high
        raise FrameError(
            f"an id of the {what} is out of range",
            field=field.name,
            received=f"{int(bad)} at row {int(np.flatnonzero(ids == bad)[0])}",
            expected=f"0 .. {field.cardinality - 1}",
            hint="Map unknown values to the field's reserved id, or raise the cardinality",
        )


def read_row(row: Any, schema: FeatureSchema) -> FloatMatrix:
    """Read one instance, given as a mapping of name to scalar or as a one-row frame.

    Returns:
        Array of shape (1, p).

    Raises:
        FrameError: As for :func:`read_matrix`, or more than one row.
    """
    if hasattr(row, "to_dict") and hasattr(row, "index") and getattr(row, "ndim", 0) == 1:  # a pandas Series
        row = row.to_dict()
    if isinstance(row, Mapping):
        row = {name: np.atleast_1d(np.asarray(value)) for name, value in row.items()}
    matrix = read_matrix(row, schema, what="row")
    if len(matrix) != 1:
        raise FrameError(
            "explain takes one row",
            received=f"{len(matrix)} rows",
            expected="1 row",
            hint="Use nid.detect for many rows",
        )
    return matrix


def read_label(label: Any, frame: Any, n: int) -> npt.NDArray[np.float64]:
    """Read 0/1 labels, given as an array or as the name of a column of the frame.

    Returns:
        Array of shape (n,).

    Raises:
        FrameError: Missing, NaN, not 0/1, or of the wrong length.
    """
    if isinstance(label, str):
        columns = columns_of(frame)
        if label not in columns:
            raise FrameError("no such label column", field=label, expected=f"one of {sorted(columns)}")
        name, values = label, columns[label]
    else:
        name, values = "label", _as_array("label", label)
    array = numeric_column(name, values)
    if len(array) != n:
        raise FrameError("wrong number of labels", field=name, received=len(array), expected=n)
    bad = ~((array == 0) | (array == 1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FrameError(
            "labels must be 0 or 1",
            field=name,
            received=f"{array[row]} at row {row} ({int(bad.sum())} such rows)",
            expected="0 or 1, no missing values",
            hint="Drop unlabelled rows; encode clicks as 1 and the rest as 0",
        )
    return array
