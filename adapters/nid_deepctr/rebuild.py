"""Giving crosses to a fresh DeepCTR model, as further columns of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tf_keras
from nid_keras.randomness import random_kept
from tf_keras.src.engine.functional import Functional

from nid_deepctr.feed import member_values
from nid_deepctr.graph import check_single_output, layers_in, main_table, read_inputs
from nid_deepctr.inject import check_fields
from nid_deepctr.layers import CrossColumns, CrossIds, GivenEmbeddings
from nid_deepctr.saving import saveable
from nid_plugins.adapting.columns import built_by, check_all_used, column_names, common_dim, pair_of
from nid_plugins.adapting.options import check_names, positive
from nid_plugins.crosses.embeddings import check_embeddings
from nid_plugins.errors import ModelError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from nid_plugins.crosses import CrossFeatures

Builder = Callable[[list[Any], list[Any]], Any]
"""From linear and deep feature columns to a fresh model."""

# Columns name layers, and layers become scopes of TensorFlow and folders of a file.
_FORBIDDEN = r"[^A-Za-z0-9_.-]"


def check_rebuild_options(options: Mapping[str, Any]) -> None:
    """Check the names of options meant for :func:`rebuild`.

    Raises:
        SettingError: An option it does not have.
    """
    allowed = [name for name in inspect.signature(rebuild).parameters if name not in {"builder", "crosses"}]
    check_names(options, allowed, 'unknown option of inject with mode="rebuild"')


def rebuild(
    builder: Builder,
    crosses: CrossFeatures,
    *,
    columns: Any,
    embedding_dim: int | None = None,
    embeddings: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Any:
    """Return a fresh model that has the crosses as further sparse columns, and takes inputs without them.

    This is how GLIDER gives interactions to a model (Tsang et al., ICLR 2020, section 4.2). Unlike there the ids are
    computed in the model: what is returned is a functional model of the original inputs, with the builder's model as a
    layer of it. It is not compiled.

    Args:
        builder: Called with linear and deep columns, returns a fresh model; whatever it does to the random state of
            TensorFlow, Keras, NumPy and ``random`` is undone. The crosses are in the default group of the deep columns.
        crosses: The crosses; their members are among the columns.
        columns: A pair ``(linear, deep)`` of lists of feature columns, or one list for both.
        embedding_dim: Of the crosses. By default that of the other deep columns, where most agree.
        embeddings: Cross name to array (V + 1, dim) to start from, through the columns' ``embeddings_initializer``.

    Raises:
        SettingError: Columns or embeddings do not fit.
        SchemaError: A member of a cross is not a column, or of another kind.
        ModelError: The builder leaves the crosses out, or does not return a fresh functional model with one output.
        UnsupportedError: A member's column hashes its values, or is a vector.
    """
    from deepctr.feature_column import SparseFeat

    linear, deep = pair_of(columns)
    dim = common_dim(deep) if embedding_dim is None else positive("embedding_dim", embedding_dim)
    given = check_embeddings(embeddings, crosses.names, crosses.vocabulary_sizes, dim)
    names = column_names(crosses, set(_taken([*linear, *deep])), forbidden=_FORBIDDEN)
    added = [
        SparseFeat(
            name,
            size + 1,
            embedding_dim=dim,
            embeddings_initializer=GivenEmbeddings(given[cross]) if cross in given else None,
        )
        for cross, name, size in zip(crosses.names, names, crosses.vocabulary_sizes, strict=True)
    ]
    with random_kept():
        model = _built(builder, [*linear, *added], [*deep, *added])
        check_all_used(names, model.input_names)
        _check_given(model, dict(zip(crosses.names, names, strict=True)), given)
        return _without_crosses(saveable(model), crosses, names)


def _taken(columns: list[Any]) -> Iterator[str]:
    for column in columns:
        yield column.name
        for own in ("embedding_name", "length_name", "weight_name"):
            if getattr(column, own, None):
                yield getattr(column, own)


def _built(builder: Builder, linear: list[Any], deep: list[Any]) -> Any:
    model = built_by(builder, linear, deep)
    fresh = isinstance(model, Functional) and model.outputs
    if not fresh or any(isinstance(layer, CrossIds) for layer in layers_in(model)):
        raise ModelError(
            "the builder does not return a fresh DeepCTR model",
            received=type(model).__qualname__,
            expected="e.g. lambda linear, deep: DeepFM(linear, deep)",
        )
    check_single_output(model)
    return model


def _check_given(model: Any, columns: Mapping[str, str], given: Mapping[str, npt.NDArray[Any]]) -> None:
    for cross, values in given.items():
        table = main_table(model, columns[cross])
        if table is None or tuple(table.embeddings.shape) != values.shape:
            raise SettingError(
                f"embeddings of cross {cross!r} do not fit the fresh model",
                received=values.shape,
                expected=None if table is None else tuple(table.embeddings.shape),
                hint="The builder uses the crosses in the linear part only",
            )
    for layer in layers_in(model):
        if isinstance(getattr(layer, "embeddings_initializer", None), GivenEmbeddings):
            layer.embeddings_initializer = (
                tf_keras.initializers.Zeros()
            )  # a file then needs no class of ours for it


def _without_crosses(model: Any, crosses: CrossFeatures, names: list[str]) -> Any:
    """Return a model of the inputs without the crosses, which it feeds to the model given."""
    fields, multi = read_inputs(model)
    check_fields(crosses, {name: field for name, field in fields.items() if name not in names})
    inputs = {
        name: tf_keras.Input(tensor.shape[1:], name=name, dtype=tensor.dtype)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
        if name not in names
    }
    members = {name for cross in crosses.crosses for name in cross.fields}
    ids = CrossIds(crosses, name="cross_ids")(member_values(inputs, members, multi))
    columns = CrossColumns(dict(zip(crosses.names, names, strict=True)), name="cross_columns")(ids)
    every = {**inputs, **dict(zip(names, columns, strict=True))}
    taken = tf.nest.pack_sequence_as(model.input, [every[name] for name in model.input_names])
    return tf_keras.Model(list(inputs.values()), model(taken), name=f"crossed_{model.name}")
