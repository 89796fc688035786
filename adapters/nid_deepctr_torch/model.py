"""DeepCTR-Torch models as functions of rows, and the schema their feature columns declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from nid_torch.model import Session, check_exact_matrix, home, matrix_dtype, own_matrix, scores
from torch import Tensor, nn

from nid_plugins.adapter import Output, Predictor
from nid_plugins.adapting import check_schema, flat
from nid_plugins.errors import SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, Field, SparseField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nid_plugins.frames import FloatMatrix

_TABLES = ("embedding_dict", "second_order_embedding_dict")


class DeepCTRTorchPredictor(Predictor):
    """A DeepCTR-Torch model as a function of rows.

    The model is called directly: its own ``predict`` would leave it in eval mode for good.

    Args:
        model: The model.
        schema: Fields with the names of its columns, in any order; further ones are an error.
        inputs: Only ``"auto"``: the model's columns say how it takes a batch.
        output: What it returns. ``"auto"``: what its task says.

    Raises:
        SettingError: ``inputs`` is something else.
        SchemaError: The schema does not fit the model's columns, or ids would be rounded to float32.
        UnsupportedError: A column or the kind of model has no counterpart here.
    """

    def __init__(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> None:
        if inputs not in ("auto", "matrix"):
            raise SettingError(
                "a DeepCTR-Torch model has its own way of taking inputs",
                received=repr(inputs),
                expected='inputs="auto"',
            )
        declared = schema_of(model)
        check_schema(schema, declared)
        check_exact_matrix(declared, home(model)[1])
        self.output = task_output(model) if output == "auto" else output
        self._model = model
        self._session = Session(model)
        self._order = [schema.index_of(name) for name in declared.names]
        self._in_order = self._order == list(range(len(schema)))
        self._sparse = np.array([isinstance(field, SparseField) for field in declared])

    @property
    def row_dtype(self) -> npt.DTypeLike:
        """float32, but for a model of float64 parameters."""
        return matrix_dtype(self._session.home()[1])

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the model's output for rows (n, p)."""
        x = self._input(rows if self._in_order else rows[:, self._order])
        with self._session, torch.no_grad():
            return scores(self._model(x))

    def session(self) -> Session:
        """Return a context in which the model is in eval mode and, at the end, as it was."""
        return self._session

    def zeroed(self, row: FloatMatrix, on: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return the output for one row (p,) with the embeddings of the off fields of ``on`` (n, p) set to zero.

        While the model is called, every embedding table is swapped for a small one: row 0 is zero, row ``j + 1`` is the
        embedding of the instance's id in column ``j``; the input holds ``j + 1`` where the field is on, 0 where it is off.
        So a table shared by several fields is zero for the off ones only, in the linear and in the deep part alike.

        Raises:
            UnsupportedError: The model has an embedding table that columns do not index, or injected crosses.
        """
        values = np.asarray(row)[self._order]
        template = np.where(self._sparse, np.arange(1, len(values) + 1), values)
        tables = self._small_tables(values)
        x = self._input(np.where(on[:, self._order], template, 0.0))
        with self._session, torch.no_grad():
            return scores(torch.func.functional_call(self._model, tables, (x,)))

    def _small_tables(self, values: npt.NDArray[np.float64]) -> dict[str, Tensor]:
        if hasattr(self._model, "nid_kinds"):
            raise UnsupportedError(
                "the embeddings of a model with injected crosses cannot be zeroed field by field",
                received='baseline="zero_embedding"',
                hint='Use baseline="mode", "oov" or "sample", or look at the model without crosses',
            )
        ids = torch.from_numpy(np.where(self._sparse, values, 0).astype(np.int64)).to(self._session.home()[0])
        tables: dict[str, Tensor] = {}
        for name, module in self._model.named_modules():
            if not isinstance(module, nn.Embedding):
                continue
            if not any(f".{table}." in f".{name}." for table in _TABLES):
                raise UnsupportedError(
                    "the model has an embedding table that its feature columns do not declare",
                    received=f"{name} of {type(self._model).__qualname__}",
                    hint='Use baseline="mode", "oov" or "sample"',
                )
            weight = module.weight.detach()
            # A field that does not use this table may have an id beyond it: no one reads the row it gets instead.
            own = weight.index_select(0, ids.clamp(max=len(weight) - 1))
            tables[f"{name}.weight"] = nn.functional.pad(own, (0, 0, 1, 0))
        return tables

    def _input(self, matrix: npt.NDArray[Any]) -> Tensor:
        device, dtype = self._session.home()
        return torch.from_numpy(own_matrix(matrix, dtype)).to(device)


def schema_of(model: Any) -> FeatureSchema:
    """Return the fields a model takes, in the order of its input's columns.

    Raises:
        UnsupportedError: A column is multi-valued or a vector, or the model has several outputs.
    """
    check_single_task(model)
    columns = columns_of(model)
    own: tuple[str, ...] = getattr(model, "nid_columns", ())
    fields: list[Field] = []
    for name in model.feature_index:
        if name in own:  # a rebuilt model computes them itself
            continue
        fields.append(_field(name, columns))
    if not fields:
        raise UnsupportedError("the model has no feature columns", received=type(model).__qualname__)
    return FeatureSchema(fields)


def schema_of_columns(columns: Any) -> FeatureSchema:
    """Return the fields a model made from feature columns takes, in its order: that of their first mention.

    Args:
        columns: A list of feature columns, or a pair of lists ``(linear, deep)``.

    Raises:
        UnsupportedError: A column is multi-valued or a vector.
        SchemaError: Two columns of one name declare different fields, or a vocabulary size is no number of ids.
    """
    fields: dict[str, Field] = {}
    for column in flat(columns):
        name = getattr(column, "name", "")
        own = _field(name, {name: column})
        if fields.setdefault(name, own) != own:
            raise SchemaError(
                "declared twice, as different fields",
                field=name,
                received=f"{fields[name]!r} and {own!r}",
                expected="the same kind and vocabulary size in the linear and the deep columns",
            )
    return FeatureSchema(fields.values())


def _field(name: str, columns: Mapping[str, Any]) -> Field:
    column = columns.get(name)
    kind = type(column).__name__
    if kind == "VarLenSparseFeat" or column is None:
        raise UnsupportedError(
            "multi-valued columns are not supported",
            field=name,
            received="VarLenSparseFeat" if column is not None else "the length of a VarLenSparseFeat",
            expected="SparseFeat or DenseFeat of dimension 1",
            hint="Wrap a function from a dict of columns to scores that fills such columns in",
        )
    if kind == "SparseFeat":
        return SparseField(name, column.vocabulary_size)
    if column.dimension != 1:
        raise UnsupportedError(
            "dense columns that are vectors are not supported",
            field=name,
            received=f"DenseFeat of dimension {column.dimension}",
            expected="dimension 1",
            hint="Declare one DenseFeat a component",
        )
    return DenseField(name)


def columns_of(model: nn.Module) -> dict[str, Any]:
    """Return the feature columns a model was made from, by name."""
    return {column.name: column for column in _columns(model)}


def _columns(model: nn.Module) -> Iterator[Any]:
    # Models keep their columns under various names (MLR: region_, base_ and bias_feature_columns); the linear parts
    # keep those of the linear part.
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
                yield from (item for item in value if type(item).__module__ == "deepctr_torch.inputs")


def check_single_task(model: Any) -> None:
    """Check that a model has one output.

    Raises:
        UnsupportedError: It has several, or is not a DeepCTR-Torch model.
    """
    if not hasattr(model, "feature_index"):
        raise UnsupportedError(
            "not a DeepCTR-Torch model",
            received=type(model).__qualname__,
            expected="a model of feature columns",
        )
    tasks = getattr(model, "num_tasks", 1)
    if tasks != 1:
        raise UnsupportedError(
            "multi-task models are not supported",
            received=f"{type(model).__qualname__} with {tasks} tasks",
            expected="a model with one output",
            hint="Wrap a module or function that picks one output",
        )


def task_output(model: Any) -> Output:
    """Return what a model returns, by its task."""
    task = getattr(getattr(model, "out", None), "task", None)
    outputs: dict[Any, Output] = {"binary": "probability", "regression": "logit"}
    return outputs.get(task, "auto")
