"""The plug-in of Lightning. Imports no framework until a model turns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nid_torch.plugin import TorchAdapter

from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Adapter


class LightningAdapter(TorchAdapter):
    """LightningModules whose ``forward`` takes a batch of rows and returns one score a row.

    They are PyTorch modules and queried as such; what is injected into one is a LightningModule again.
    """

    name: ClassVar[str] = "lightning"
    classes: ClassVar[tuple[str, ...]] = (
        "lightning.pytorch.core.module.LightningModule",
        "pytorch_lightning.core.module.LightningModule",
    )
    extra: ClassVar[str | None] = "lightning"


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(LightningAdapter())
