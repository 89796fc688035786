"""Residual injection: a copy of a LightningModule, of its own class, with crosses on the output of its ``forward``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_torch.growing import Growth
from nid_torch.inject import copied

from nid_plugins.adapting import TowerOptions, check_names

if TYPE_CHECKING:
    from torch import nn

    from nid_plugins.crosses import CrossFeatures

_OWN = ("inputs", "output", "extract", "frozen")


def inject(model: nn.Module, crosses: CrossFeatures, **options: Any) -> nn.Module:
    """Return a LightningModule that has the crosses and, until it is trained, returns exactly what the model does.

    It has the model's hooks, so a trainer takes it: where ``training_step`` calls the module, the crosses take part in
    the loss, and ``configure_optimizers`` finds them among the parameters.

    Args:
        model: A LightningModule whose ``forward`` returns one score a row; it is copied, not changed.
        crosses: The crosses; their schema is the model's.
        **options: ``inputs``, ``output``, ``extract``, ``frozen`` and those of the tower, as in
            :func:`nid_torch.inject.inject`.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: Ids of a member would be rounded in a float32 matrix.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: The model cannot be copied, or has crosses already.
    """
    check_names(options, (*_OWN, *TowerOptions.names()), "unknown option of inject")
    target = copied(model)
    Growth(target, crosses, **options).attach()
    return target
