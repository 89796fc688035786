"""The paper's four target models of DeepCTR on tf_keras, built alike from a schema.

Importing this sets ``TF_USE_LEGACY_KERAS``, which DeepCTR needs before TensorFlow is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import DCN, WDL, AutoInt, DeepFM, xDeepFM

from nid_plugins import SparseField

if TYPE_CHECKING:
    from benchmarks.lift.models import Shape
    from nid_plugins import FeatureSchema

TARGETS = ("WDL", "DeepFM", "DCN", "xDeepFM")
SOURCE = "AutoInt"
"""The paper's source; no target."""
_CLASSES = {"WDL": WDL, "DeepFM": DeepFM, "DCN": DCN, "xDeepFM": xDeepFM, "AutoInt": AutoInt}


def columns_of(schema: FeatureSchema, dim: int, *, init_std: float, seed: int) -> list[Any]:
    """Return DeepCTR feature columns of a schema, every sparse field with embeddings of ``dim``.

    Each field draws with a seed of its own: DeepCTR's default gives fields of one size the same table.
    """
    return [
        SparseFeat(
            f.name,
            f.cardinality,
            embedding_dim=dim,
            embeddings_initializer=tf.keras.initializers.RandomNormal(stddev=init_std, seed=1000 * seed + j),
        )
        if isinstance(f, SparseField)
        else DenseFeat(f.name, 1)
        for j, f in enumerate(schema)
    ]


def build(target: str, schema: FeatureSchema, *, seed: int, shape: Shape) -> Any:
    """Build an untrained model (one of :data:`TARGETS` or the source), weights drawn by ``seed``.

    Built as :func:`benchmarks.lift.models.build` builds its namesake of DeepCTR-Torch; that has no L2 of its own either.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    columns = columns_of(schema, shape.dim, init_std=shape.init_std, seed=seed)
    extra: dict[str, Any] = {}
    if target == "xDeepFM":
        extra["cin_layer_size"] = (16, 16)
    if target == "AutoInt":
        extra["att_layer_num"] = 2
    if target == "DCN":
        extra["l2_reg_cross"] = 0.0
    return _CLASSES[target](
        columns,
        columns,
        dnn_hidden_units=shape.hidden,
        dnn_dropout=shape.dropout,
        l2_reg_linear=0.0,
        l2_reg_embedding=0.0,
        seed=seed,
        **extra,
    )


def parameters_of(model: Any) -> int:
    """Return the number of trainable parameters."""
    return sum(int(v.shape.num_elements()) for v in model.trainable_variables)
