"""The plug-in of Lightning. Imports no framework until a model turns up."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from nid_torch.plugin import TorchAdapter

from nid_plugins.adapter import class_paths
from nid_plugins.errors import UnsupportedError
from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Adapter
    from nid_plugins.callbacks import InteractionMonitor
    from nid_plugins.crosses import CrossFeatures


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

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a LightningModule that has the crosses; see :func:`nid_lightning.inject.inject`.

        Raises:
            UnsupportedError: ``mode="rebuild"``: a LightningModule does not declare feature columns.
        """
        if mode != "residual":
            raise UnsupportedError(
                "a LightningModule cannot be rebuilt", received=f"mode={mode!r}", expected='mode="residual"'
            )
        from nid_lightning.inject import inject

        return inject(model, crosses, **options)

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return a callback of the model's own Lightning round the core."""
        old = self.classes[1] in class_paths(model)
        module = import_module(f"nid_lightning.{'pl_callbacks' if old else 'callbacks'}")
        return module.InteractionMonitor(core=core)


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(LightningAdapter())
