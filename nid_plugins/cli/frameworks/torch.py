"""``--framework torch``: a plain PyTorch module, as one would write it oneself."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.cli.frameworks.base import Fitting, Framework, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class Torch(Framework):
    """PyTorch: :class:`nid_plugins.cli.frameworks.torch_deepfm.DeepFM`, which returns logits."""

    name: ClassVar[str] = "torch"
    title: ClassVar[str] = "PyTorch"
    extra: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    output: ClassVar[Output] = "logit"

    def _load(self) -> None:
        import torch  # noqa: F401 - so that it is known to work

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Keep PyTorch to one thread: on a busy machine several lose ten times over."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def deepfm(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
        """Return a fresh DeepFM."""
        from nid_plugins.cli.frameworks.torch_deepfm import DeepFM

        return DeepFM(schema, recipe, seed)

    def copied(self, model: Any, schema: FeatureSchema, recipe: Recipe) -> Any:
        """Return a deep copy."""
        return copy.deepcopy(model)

    def fitting(
        self,
        model: Any,
        schema: FeatureSchema,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
    ) -> Fitting:
        """Return the means to train a module that takes a matrix, returns logits, and has a ``penalty()``."""
        from nid_plugins.cli.frameworks.torch_fitting import TorchFitting

        return TorchFitting(model, rows, clicks, recipe, probability=False, penalty=model.penalty)
