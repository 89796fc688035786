"""What the suite asks of an adapter's author: attributes and hooks, to be filled in by a subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from nid_plugins.testing.golden import IdInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema
    from nid_plugins.testing.log import Frame

NOTHING: Mapping[str, Any] = MappingProxyType({})


class AdapterCase(ABC):
    """One kind of model of one adapter. Subclass it through :class:`~nid_plugins.testing.AdapterConformance`.

    A frame is a dict of columns of shape (n,): ids int64, dense values float32.

    Attributes:
        adapter: The adapter's name.
        plugin: Full name of the plug-in's module.
        frameworks: Top-level modules of frameworks that importing the plug-in must not import.
        modes: The modes of ``nid.inject`` the adapter supports, of ``"residual"`` and ``"rebuild"``; none if it only
            predicts. That the others are refused is tested.
        output: What :meth:`predict` returns.
        dense: Whether the framework takes dense fields.
        declares_schema: Whether ``nid.FeatureSchema.of(model)`` works.
        zeroes_embeddings: Whether the baseline ``"zero_embedding"`` works.
        ignores_unknown_fields: Whether the model takes no notice of columns it does not know, as one that looks its
            columns up by name may. Else a schema with a field too many must be refused.
        tolerance: Largest difference between the adapter's logits and those of :meth:`predict`.
        id_inputs: The ways in which :meth:`cross_ids` can be asked.
        not_carried: The kinds of value none of ``id_inputs`` can carry, each with the reason:
            :data:`nid_plugins.testing.golden.KINDS` lists the kinds.
        wrap_options: Further arguments of ``nid.wrap``, e.g. ``{"inputs": "matrix"}``.
        residual_options: Further arguments of ``nid.inject(..., mode="residual")``.
        rebuild_options: Further arguments of ``nid.inject(..., mode="rebuild")``.
    """

    adapter: ClassVar[str]
    plugin: ClassVar[str]
    frameworks: ClassVar[tuple[str, ...]]
    modes: ClassVar[frozenset[str]] = frozenset({"residual"})
    output: ClassVar[Literal["probability", "logit"]] = "probability"
    dense: ClassVar[bool] = True
    declares_schema: ClassVar[bool] = False
    zeroes_embeddings: ClassVar[bool] = False
    ignores_unknown_fields: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-4
    id_inputs: ClassVar[tuple[IdInput, ...]] = (IdInput("columns", "int64", "float32"),)
    not_carried: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"a fractional id": "ids are integers", "a missing id": "ids are integers"}
    )
    wrap_options: ClassVar[Mapping[str, Any]] = NOTHING
    residual_options: ClassVar[Mapping[str, Any]] = NOTHING
    rebuild_options: ClassVar[Mapping[str, Any]] = NOTHING

    @abstractmethod
    def model(self, schema: FeatureSchema, seed: int) -> Any:
        """Return a small fresh model of a schema, its weights drawn with a seed.

        Let it have what an adapter can get wrong: dropout, batch norm, an optimiser, whatever the framework has of it.
        """

    @abstractmethod
    def predict(self, model: Any, frame: Frame) -> npt.NDArray[Any]:
        """Return the framework's own prediction, shape (n,) or (n, 1), without help of the adapter.

        It must take injected models just as it takes others, and leave the model's mode as it was.
        """

    def exact(self, model: Any, frame: Frame) -> npt.NDArray[Any]:
        """Return the prediction that is compared to the last bit, where that is not the one of :meth:`predict`.

        A framework may compute the same model in more than one way, of which not all agree in the last bit.
        """
        return np.array(self.predict(model, frame))

    @abstractmethod
    def train(self, model: Any, frame: Frame, label: npt.NDArray[Any]) -> None:
        """Take one step of training on these rows, by the framework's own means.

        Without weight decay or another penalty: weights the rows have no part in must not move.
        """

    @abstractmethod
    def state(self, model: Any) -> Any:
        """Return all that looking at a model must leave alone, as nested dicts and lists of arrays and plain values.

        That is weights and buffers, train or eval mode (of every part), which weights are trained, and the state of
        the optimiser, if the model holds it. The suite copies arrays.
        """

    @abstractmethod
    def random_state(self) -> Any:
        """Return the state of the framework's random generators; the suite looks after Python's and NumPy's own."""

    @abstractmethod
    def save(self, model: Any, directory: Path) -> None:
        """Save a model, injected or not, into an empty directory by the framework's own means."""

    @abstractmethod
    def load(self, directory: Path) -> Any:
        """Return the model :meth:`save` wrote."""

    @abstractmethod
    def two_scores(self, schema: FeatureSchema) -> Any:
        """Return a model of the framework that returns two scores a row, which nothing here can make sense of."""

    def cross_ids(self, crosses: CrossFeatures, columns: Frame, way: str) -> npt.NDArray[Any]:
        """Return the cross ids that injected models compute, shape (n, K), where they compute them.

        Args:
            crosses: The crosses.
            columns: Name to column of shape (n,), of the dtypes of ``way``.
            way: Name of one of ``id_inputs``: how to pass the columns.
        """
        raise NotImplementedError(f"{type(self).__name__} supports injection: it needs the hook cross_ids")

    def strangers(self) -> Iterable[Any]:
        """Return models the adapter must leave to others: of other frameworks, and of other adapters of its own."""
        return ()

    def builder(self, schema: FeatureSchema) -> tuple[Callable[..., Any], Any]:
        """Return a builder of fresh models and feature columns, for ``nid.inject(builder, mode="rebuild", columns=...)``."""
        raise NotImplementedError(f'{type(self).__name__} supports mode="rebuild": it needs the hook builder')
