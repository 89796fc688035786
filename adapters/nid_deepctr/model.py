"""DeepCTR models as functions of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from nid_keras.ids import CrossIdsMixin
from nid_keras.model import KerasPredictor
from nid_keras.randomness import random_kept

from nid_deepctr.copying import give_weights, twin
from nid_deepctr.feed import Feeder
from nid_deepctr.graph import check_single_output, layers_in, read_inputs, schema_of, tables_of
from nid_deepctr.inject import by_name
from nid_deepctr.task import task_output
from nid_plugins.adapter import Output, Predictor
from nid_plugins.adapting.columns import check_schema
from nid_plugins.errors import UnsupportedError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class DeepCTRPredictor(Predictor):
    """A DeepCTR model as a function of rows.

    A field of a multi-valued column (``VarLenSparseFeat``) holds one id a row, and the model gets the sequence of that id
    alone; see :class:`~nid_deepctr.feed.Feeder`.

    Args:
        model: A functional tf_keras model.
        schema: Fields with the names of its columns, in any order; further ones are an error.
        inputs: How it takes a batch. ``"auto"``: by name.
        output: What it returns. ``"auto"``: what its task says.

    Raises:
        SettingError: ``inputs`` does not fit the model.
        SchemaError: The schema does not fit the model's columns.
        UnsupportedError: A column has no counterpart here, or the model has several outputs.
    """

    def __init__(
        self, model: Any, schema: FeatureSchema, *, inputs: Inputs = "auto", output: Output = "auto"
    ) -> None:
        check_single_output(model)
        self._declared = inputs == "auto" and by_name(model, schema)
        if self._declared:
            check_schema(schema, schema_of(model))
            if read_inputs(model)[1]:
                inputs = Feeder(model)
        self._model = model
        self._schema = schema
        self._inputs = inputs
        self._inner = KerasPredictor(
            model, schema, inputs=inputs, output=task_output(model) if output == "auto" else output
        )
        self.output = self._inner.output
        self._small: tuple[Any, KerasPredictor] | None = None

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the model's output for rows (n, p)."""
        return self._inner(rows)

    def session(self) -> AbstractContextManager[object]:
        """Return a context at whose end the model's variables are as they were."""
        return self._inner.session()

    def zeroed(self, row: FloatMatrix, on: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return the output for one row (p,) with the embeddings of the off fields of ``on`` (n, p) set to zero.

        It is that of a copy of the model with small embedding tables: rows 0 and 1 are zero, row ``j + 2`` is the
        embedding of the instance's id in field ``j``; the input holds ``j + 2`` where the field is on, 1 where it is off.
        So a table shared by several fields is zero for the off ones only, in the linear and in the deep part alike. Row 0
        is what a multi-valued field that is on but empty takes, since id 0 is left out of its pooling.

        Raises:
            UnsupportedError: The model has an embedding table that columns do not index, or injected crosses.
        """
        if self._small is None:
            with random_kept():
                self._small = self._made_small()
        small, predictor = self._small
        values = np.asarray(row, dtype=np.float64)
        sparse = np.array([isinstance(field, SparseField) for field in self._schema])
        give_weights(small, self._model)
        ids = np.where(sparse, values, 0).astype(np.int64)
        for table, own in zip(_tables(self._model), _tables(small), strict=True):
            # A field that does not use this table may have an id beyond it: no one reads the row it gets instead.
            found = tf.gather(table.embeddings, np.minimum(ids, table.input_dim - 1))
            own.embeddings.assign(tf.pad(found, [[2, 0], [0, 0]]))
        template = np.where(sparse, np.arange(2, 2 + len(values)), values)
        for j, name in enumerate(self._schema.names):
            if name in self._multi and values[j] == 0:
                template[j] = 0
        return predictor(np.where(on, template, np.where(sparse, 1.0, 0.0)))

    def _made_small(self) -> tuple[Any, KerasPredictor]:
        tables = _tables(self._model)
        if not self._declared or any(isinstance(one, CrossIdsMixin) for one in layers_in(self._model)):
            raise UnsupportedError(
                "the embeddings of this model cannot be zeroed field by field",
                received='baseline="zero_embedding"',
                expected="a model whose inputs are named like the fields, without injected crosses",
                hint='Use baseline="mode", "oov" or "sample", or look at the model without crosses',
            )
        indexed = {id(table) for name in self._schema.names for table in tables_of(self._model, name)}
        other = [table.name for table in tables if id(table) not in indexed]
        if other:
            raise UnsupportedError(
                "the model has an embedding table that its columns do not index",
                received=other,
                hint='Use baseline="mode", "oov" or "sample"',
            )
        self._multi = read_inputs(self._model)[1]
        small = twin(self._model, 2 + len(self._schema))
        return small, KerasPredictor(small, self._schema, inputs=self._inputs, output=self.output)


def _tables(model: Any) -> list[Any]:
    return [layer for layer in layers_in(model) if isinstance(layer, tf_keras.layers.Embedding)]
