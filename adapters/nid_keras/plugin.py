"""The plug-in of Keras 3 on TensorFlow and of tf_keras. Imports no framework until a model turns up."""

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


class KerasAdapter(Adapter):
    """Any Keras 3 model on TensorFlow, and any tf_keras model, that returns one score a row."""

    name: ClassVar[str] = "keras"
    classes: ClassVar[tuple[str, ...]] = (
        "keras.src.models.model.Model",
        "tf_keras.src.engine.training.Model",
    )
    extra: ClassVar[str | None] = "tensorflow"

    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return the model as a function of rows; see :class:`nid_keras.model.KerasPredictor`."""
        from nid_keras.flavour import keras_of

        keras_of(model)  # before what needs TensorFlow, which another backend may do without
        from nid_keras.model import KerasPredictor

        return KerasPredictor(model, schema, inputs=inputs, output=output)

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a model that has the crosses; see :func:`nid_keras.inject.residual`.

        Raises:
            UnsupportedError: ``mode="rebuild"``: a Keras model does not declare feature columns.
        """
        from nid_keras.flavour import keras_of

        if mode != "residual":
            raise UnsupportedError(
                "a plain Keras model cannot be rebuilt",
                received=f"mode={mode!r}",
                expected='mode="residual"',
                hint="Rebuilding needs a framework with feature columns, e.g. DeepCTR; "
                "or use nid_keras.keras3.CrossEmbedding in a model of your own",
            )
        keras_of(model)
        from nid_keras.inject import residual
        from nid_plugins.adapting.options import TowerOptions, check_names

        own = ("inputs", "output", "extract", "frozen", "fresh")
        check_names(options, (*own, *TowerOptions.names()), "unknown option of inject")
        return residual(model, crosses, **options)

    def cross_embeddings(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the embeddings of the crosses injected into a model, whatever it is now a part of."""
        from nid_keras.flavour import keras_of

        keras_of(model)
        from nid_keras.inject import embeddings_of

        return embeddings_of(model) or super().cross_embeddings(model)

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return a callback of the model's own Keras; see :class:`nid_keras.callbacks.InteractionMonitorMixin`."""
        from nid_keras.flavour import layers_of

        return layers_of(model).InteractionMonitor(core=core)


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(KerasAdapter())
