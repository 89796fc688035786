"""The five target models of DeepCTR-Torch, built alike from a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DCN, WDL, AutoInt, DeepFM, xDeepFM

from nid_plugins import SparseField

if TYPE_CHECKING:
    from nid_plugins import FeatureSchema

TARGETS = ("WDL", "DeepFM", "DCN", "xDeepFM", "AutoInt")
_CLASSES = {"WDL": WDL, "DeepFM": DeepFM, "DCN": DCN, "xDeepFM": xDeepFM, "AutoInt": AutoInt}


def columns_of(schema: FeatureSchema, dim: int) -> list[SparseFeat | DenseFeat]:
    """Return DeepCTR-Torch feature columns of a schema, every sparse field with embeddings of ``dim``."""
    return [
        SparseFeat(f.name, f.cardinality, embedding_dim=dim)
        if isinstance(f, SparseField)
        else DenseFeat(f.name, 1)
        for f in schema
    ]


@dataclass(frozen=True)
class Shape:
    """What a target is made of.

    Attributes:
        dim: Embedding dimension.
        hidden: Units of the dense layers.
        dropout: Of the dense layers.
        init_std: Of the initial embeddings.
    """

    dim: int = 8
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.5
    init_std: float = 1e-3


def build(target: str, schema: FeatureSchema, *, seed: int, shape: Shape) -> Any:
    """Build an untrained target model (one of :data:`TARGETS`) on the CPU, weights drawn by ``seed``."""
    columns = columns_of(schema, shape.dim)
    extra: dict[str, Any] = {}
    if target == "xDeepFM":
        extra["cin_layer_size"] = (16, 16)
    if target == "AutoInt":
        extra["att_layer_num"] = 2
    if target != "AutoInt":
        extra["l2_reg_linear"] = 0.0
    if target == "DCN":
        extra["l2_reg_cross"] = 0.0
    # L2 is the trainer's business (weight decay on the mean loss), so the model's own is switched off.
    model = _CLASSES[target](
        columns,
        columns,
        dnn_hidden_units=shape.hidden,
        dnn_dropout=shape.dropout,
        init_std=shape.init_std,
        l2_reg_embedding=0.0,
        seed=seed,
        **extra,
    )
    for module in model.embedding_dict.values():  # DeepCTR-Torch draws these before seeding in some releases
        torch.nn.init.normal_(module.weight, std=shape.init_std)
    return model


def parameters_of(model: torch.nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
