"""``--framework deepctr-torch``: the DeepFM of DeepCTR-Torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.cli.frameworks.base import Fitting, Recipe, imported
from nid_plugins.cli.frameworks.torch import Torch
from nid_plugins.errors import SchemaError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class DeepCTRTorch(Torch):
    """DeepCTR-Torch, which runs on PyTorch."""

    name: ClassVar[str] = "deepctr-torch"
    title: ClassVar[str] = "DeepCTR-Torch"
    extra: ClassVar[str] = "deepctr-torch"
    packages: ClassVar[tuple[str, ...]] = ("torch", "deepctr_torch", "requests")
    output: ClassVar[Output] = "auto"

    def _load(self) -> None:
        imported("deepctr_torch")

    def deepfm(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
        """Return a fresh DeepFM.

        Raises:
            SchemaError: DeepCTR-Torch cannot take a field of this name.
        """
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import DeepFM

        columns = [
            SparseFeat(field.name, field.cardinality, recipe.dim)
            if isinstance(field, SparseField)
            else DenseFeat(field.name, 1)
            for field in schema
        ]
        try:
            return DeepFM(
                columns,
                columns,
                dnn_hidden_units=recipe.hidden,
                dnn_dropout=recipe.dropout,
                l2_reg_embedding=recipe.l2,
                init_std=recipe.init_std,
                seed=seed,
            )
        except (
            KeyError
        ) as error:  # embeddings are in a ModuleDict, which wants names that could be attributes
            raise SchemaError(
                "DeepCTR-Torch cannot take a field of this name",
                received=str(error.args[0]),
                expected="names without dots that torch.nn.ModuleDict does not use itself (type, values, keys, ...)",
                hint="Rename the column, or leave it out with --exclude",
            ) from error

    def fitting(
        self,
        model: Any,
        schema: FeatureSchema,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
    ) -> Fitting:
        """Return the means to train a DeepCTR-Torch model."""
        from nid_plugins.cli.frameworks.torch_fitting import TorchFitting

        return TorchFitting(
            model, rows, clicks, recipe, probability=True, penalty=model.get_regularization_loss
        )
