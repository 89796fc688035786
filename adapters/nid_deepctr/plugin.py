"""The plug-in of DeepCTR. Imports no framework until a model turns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.adapter import Adapter, Output
from nid_plugins.adapting.columns import flat
from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Predictor
    from nid_plugins.callbacks import InteractionMonitor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

_COLUMNS = {f"deepctr.feature_column.{kind}" for kind in ("SparseFeat", "DenseFeat", "VarLenSparseFeat")}


class DeepCTRAdapter(Adapter):
    """Models of DeepCTR that return one score a row, and tf_keras models made of its layers."""

    name: ClassVar[str] = "deepctr"
    # DeepCTR's models have no class of their own. These are nearer to a model than the classes the adapter of Keras
    # names, so that it is asked second.
    classes: ClassVar[tuple[str, ...]] = (
        "tf_keras.src.engine.functional.Functional",
        "keras.src.models.functional.Functional",
    )
    extra: ClassVar[str | None] = "deepctr"

    def claims(self, model: object) -> bool:
        """Return whether a layer of the model, or of a model in it, is DeepCTR's or derived from one."""
        return any(
            any(base.__module__.partition(".")[0] == "deepctr" for base in type(layer).__mro__)
            or self.claims(getattr(layer, "base", layer))  # of a layer that keeps a model frozen
            for layer in getattr(model, "layers", ())
        )

    def claims_columns(self, columns: object) -> bool:
        """Return whether these are DeepCTR's columns: a list of them, or a pair of lists."""
        kinds = {f"{type(column).__module__}.{type(column).__qualname__}" for column in flat(columns)}
        return bool(kinds) and kinds <= _COLUMNS

    def schema(self, model: Any) -> FeatureSchema:
        """Return the schema of the model's inputs; see :func:`nid_deepctr.graph.schema_of`."""
        from nid_deepctr.flag import check_legacy

        check_legacy(model)
        from nid_deepctr.graph import schema_of

        return schema_of(model)

    def schema_of_columns(self, columns: Any) -> FeatureSchema:
        """Return the schema of feature columns; see :func:`nid_deepctr.columns.schema_of_columns`."""
        from nid_deepctr.columns import schema_of_columns

        return schema_of_columns(columns)

    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return the model as a function of rows; see :class:`nid_deepctr.model.DeepCTRPredictor`."""
        from nid_deepctr.flag import check_legacy

        check_legacy(model)
        from nid_deepctr.model import DeepCTRPredictor

        return DeepCTRPredictor(model, schema, inputs=inputs, output=output)

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a model that has the crosses; see :mod:`nid_deepctr.inject` and :mod:`nid_deepctr.rebuild`."""
        from nid_deepctr.flag import check_legacy, check_legacy_layers

        if mode == "rebuild":
            check_legacy_layers()
            from nid_deepctr.rebuild import check_rebuild_options, rebuild

            check_rebuild_options(options)
            return rebuild(model, crosses, **options)
        check_legacy(model)
        from nid_deepctr.inject import residual

        return residual(model, crosses, **options)

    def cross_embeddings(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the embeddings of the crosses of an injected model."""
        from nid_deepctr.flag import check_legacy

        check_legacy(model)
        from nid_deepctr.inject import embeddings_of

        return embeddings_of(model) or super().cross_embeddings(model)

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return a callback of tf_keras; see :class:`nid_keras.callbacks.InteractionMonitorMixin`."""
        from nid_deepctr.flag import check_legacy

        check_legacy(model)
        from nid_deepctr.callbacks import InteractionMonitor

        return InteractionMonitor(core=core)


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(DeepCTRAdapter())
