"""The plug-in of DeepCTR-Torch. Imports no framework until a model turns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.adapter import Adapter, Output
from nid_plugins.adapting import flat
from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Predictor
    from nid_plugins.callbacks import InteractionMonitor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

_COLUMNS = {f"deepctr_torch.inputs.{kind}" for kind in ("SparseFeat", "DenseFeat", "VarLenSparseFeat")}


class DeepCTRTorchAdapter(Adapter):
    """Models of DeepCTR-Torch that return one score a row from sparse and dense columns."""

    name: ClassVar[str] = "deepctr_torch"
    classes: ClassVar[tuple[str, ...]] = ("deepctr_torch.models.basemodel.BaseModel",)
    extra: ClassVar[str | None] = "deepctr-torch"

    def claims_columns(self, columns: object) -> bool:
        """Return whether these are DeepCTR-Torch's columns: a list of them, or a pair of lists."""
        kinds = {f"{type(column).__module__}.{type(column).__qualname__}" for column in flat(columns)}
        return bool(kinds) and kinds <= _COLUMNS

    def schema(self, model: Any) -> FeatureSchema:
        """Return the schema of the model's feature columns; see :func:`nid_deepctr_torch.model.schema_of`."""
        from nid_deepctr_torch.model import schema_of

        return schema_of(model)

    def schema_of_columns(self, columns: Any) -> FeatureSchema:
        """Return the schema of a model made from these columns; see :mod:`nid_deepctr_torch.model`."""
        from nid_deepctr_torch.model import schema_of_columns

        return schema_of_columns(columns)

    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return the model as a function of rows; see :class:`nid_deepctr_torch.model.DeepCTRTorchPredictor`."""
        from nid_deepctr_torch.model import DeepCTRTorchPredictor

        return DeepCTRTorchPredictor(model, schema, inputs=inputs, output=output)

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a model that has the crosses; see :mod:`nid_deepctr_torch.inject`."""
        from nid_deepctr_torch.inject import check_rebuild_options, rebuild, residual

        if mode != "rebuild":
            return residual(model, crosses, **options)
        check_rebuild_options(options)
        return rebuild(model, crosses, **options)

    def cross_embeddings(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the embeddings of the crosses of an injected model."""
        from nid_deepctr_torch.layers import embeddings_of

        return embeddings_of(model) or super().cross_embeddings(model)

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return a callback round the core; see :class:`nid_deepctr_torch.callbacks.InteractionMonitor`."""
        from nid_deepctr_torch.callbacks import InteractionMonitor

        return InteractionMonitor(core=core)


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(DeepCTRTorchAdapter())
