"""A DeepFM as a functional model of Keras 3 (Guo et al., IJCAI 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from nid_plugins.errors import SchemaError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from nid_plugins.cli.frameworks.base import Recipe
    from nid_plugins.schema import FeatureSchema, Field


def deepfm(schema: FeatureSchema, recipe: Recipe, seed: int, *, again: bool = False) -> Any:
    """Return a model with a linear part, products of every two embeddings, and an MLP; it returns probabilities.

    Args:
        schema: The fields. Each is an input of shape (n,): ids int32, dense values float32.
        recipe: Sizes, dropout and penalty.
        seed: Of the initial weights.
        again: Whether it was tried before.

    Raises:
        SchemaError: Keras cannot take a field of this name.
    """
    keras.utils.set_random_seed(seed)
    inputs = {field.name: _input(field) for field in schema}
    linear, deep = [], []
    if schema.sparse:
        ids = [(field, inputs[field.name]) for field in schema.sparse]
        flat = ops.concatenate([_embedding(field, recipe.dim, recipe)(x) for field, x in ids], axis=1)
        # Keras runs what is independent in an order that differs from run to run. No output goes to more than two places
        # here, so that the sum of their gradients does not.
        embedded = ops.reshape(flat, (-1, len(ids), recipe.dim))
        pairs = ops.square(ops.sum(embedded, axis=1)) - ops.sum(ops.square(embedded), axis=1)
        linear.append(0.5 * ops.sum(pairs, axis=1, keepdims=True))
        linear.extend(_embedding(field, 1)(x) for field, x in ids)
        deep.append(flat)
    if schema.dense:
        dense = ops.stack([inputs[field.name] for field in schema.dense], axis=1)
        linear.append(layers.Dense(1)(dense))
        deep.append(dense)
    hidden = ops.concatenate(deep, axis=1)
    for width in recipe.hidden:
        hidden = layers.Dropout(recipe.dropout)(layers.Dense(width, activation="relu")(hidden))
    # One sum over a list: TensorFlow would regroup a chain of additions.
    parts = ops.concatenate([layers.Dense(1, use_bias=False)(hidden), *linear], axis=1)
    logit = ops.sum(parts, axis=1, keepdims=True)
    probability = layers.Activation("sigmoid")(logit)
    try:
        return keras.Model(inputs, probability)
    except ValueError as error:
        # Keras names layers by their kind, and a field may have that name. The second of a kind is numbered.
        if again:
            raise _unfit(error) from error
        return deepfm(schema, recipe, seed, again=True)


def _input(field: Field) -> Any:
    dtype = "int32" if isinstance(field, SparseField) else "float32"
    try:
        return keras.Input((), dtype=dtype, name=field.name)
    except ValueError as error:
        raise _unfit(error, field.name) from error


def _unfit(error: ValueError, field: str | None = None) -> SchemaError:
    return SchemaError(
        "Keras cannot take a field of this name",
        field=field,
        received=str(error),
        hint="Rename the column, or leave it out with --exclude",
    )


def _embedding(field: Any, dim: int, recipe: Recipe | None = None) -> Any:
    if recipe is None:
        return layers.Embedding(field.cardinality, dim, embeddings_initializer="zeros")
    return layers.Embedding(
        field.cardinality,
        dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=recipe.init_std),
        embeddings_regularizer=keras.regularizers.L2(recipe.l2),
    )
