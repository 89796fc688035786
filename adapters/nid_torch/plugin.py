"""The plug-in of PyTorch. Imports no framework until a model turns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.adapter import Adapter, Output
from nid_plugins.errors import UnsupportedError
from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Predictor
    from nid_plugins.callbacks import InteractionMonitor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema


class TorchAdapter(Adapter):
    """Any ``torch.nn.Module`` that takes a batch of rows and returns one score a row."""

    name: ClassVar[str] = "torch"
    classes: ClassVar[tuple[str, ...]] = ("torch.nn.modules.module.Module",)
    extra: ClassVar[str | None] = "torch"

    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return the module as a function of rows; see :class:`nid_torch.model.TorchPredictor`."""
        from nid_torch.model import TorchPredictor

        return TorchPredictor(model, schema, inputs=inputs, output=output)

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a module that has the crosses; see :func:`nid_torch.inject.inject`.

        Raises:
            UnsupportedError: ``mode="rebuild"``: a plain module does not declare feature columns.
        """
        from nid_torch.inject import inject

        if mode != "residual":
            raise UnsupportedError(
                "a plain PyTorch model cannot be rebuilt",
                received=f"mode={mode!r}",
                expected='mode="residual"',
                hint="Rebuilding needs a framework with feature columns, e.g. DeepCTR-Torch; "
                "or use nid_torch.layers.CrossEmbedding in a model of your own",
            )
        return inject(model, crosses, **options)

    def cross_embeddings(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the embeddings of the crosses injected into a module, whatever it is now a part of."""
        from nid_torch.layers import CrossTower

        found: dict[str, npt.NDArray[np.float32]] = {}
        for module in model.modules():
            if isinstance(module, CrossTower):
                found.update(module.cross_embeddings())
        return found or super().cross_embeddings(model)

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return a callback round the core; see :class:`nid_torch.callbacks.InteractionMonitor`."""
        from nid_torch.callbacks import InteractionMonitor

        return InteractionMonitor(model, core=core)


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(TorchAdapter())
