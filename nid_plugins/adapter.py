"""What an adapter is: how one framework's models are recognised, queried and injected into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nid_plugins.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.callbacks import InteractionMonitor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

Output = Literal["auto", "probability", "logit"]


class Predictor(ABC):
    """A model as a function of rows. Built by an adapter, held by a :class:`~nid_plugins.blackbox.BlackBox`.

    The black box does the batching and checks shape and finiteness; a predictor only calls the model. It leaves the
    model as it found it: weights, buffers, train/eval mode of every part, and the framework's random state.

    Attributes:
        output: What the model returns: ``"probability"``, ``"logit"``, or ``"auto"`` when only its values can tell.
    """

    output: Output = "auto"

    @property
    def row_dtype(self) -> npt.DTypeLike:
        """The dtype of rows that are made for this model: float64, or float32 if all it does is to convert them to that.

        Rows of a frame come in float64 either way, so that a predictor that says float32 takes both. Float32 rows are
        made for one call, and are the predictor's own: they need not be copied before a model that writes to its input.
        """
        return "float64"

    @abstractmethod
    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the model's output for rows of shape (n, p) in schema order, shape (n,) or (n, 1).

        The rows are float64, or of the predictor's own :attr:`row_dtype`; they are not to be changed.
        """

    def session(self) -> AbstractContextManager[object]:
        """Return a context in which the black box makes the calls of one batch after the other.

        A predictor may prepare the model once here instead of in every call; by default nothing is done.
        """
        return nullcontext()

    def zeroed(self, row: FloatMatrix, on: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return the model's output for one row with the embeddings of off fields set to zero.

        Args:
            row: Shape (p,).
            on: Shape (n, p); False switches the field off: a sparse field's embeddings are zero, a dense value is 0.

        Raises:
            UnsupportedError: The adapter cannot tell which embedding belongs to which field.
        """
        raise UnsupportedError(
            "this model's embeddings cannot be zeroed field by field",
            received='baseline="zero_embedding"',
            expected="a model whose framework declares its embedding tables (e.g. DeepCTR-Torch)",
            hint='Use baseline="mode", "oov" or "sample"',
        )


class Adapter(ABC):
    """One framework's adapter. Register an instance in the hook ``nid_register_adapters``.

    A model is recognised by the path of its class, never by importing the framework: of all adapters, the one naming
    the class nearest to the model's own in its method resolution order wins.

    Attributes:
        name: Short name, e.g. ``"torch"``.
        classes: Full class paths this adapter knows, e.g. ``("torch.nn.modules.module.Module",)``.
        extra: The extra of ``nid-plugins`` that brings the framework, for error messages.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    extra: ClassVar[str | None] = None

    def claims(self, model: object) -> bool:
        """Refine a match by class path; return False to leave the model to other adapters."""
        return True

    def claims_columns(self, columns: object) -> bool:
        """Return whether feature columns are this framework's.

        They are given to ``inject(builder, mode="rebuild", columns=...)`` or to ``FeatureSchema.of``.
        """
        return False

    def schema(self, model: Any) -> FeatureSchema:
        """Return the schema the model's framework declares.

        Raises:
            UnsupportedError: The framework does not declare features.
        """
        raise UnsupportedError(
            "this framework does not declare its features",
            received=type(model).__qualname__,
            expected="a model with feature columns",
            hint="Write the schema by hand or use FeatureSchema.infer",
        )

    def schema_of_columns(self, columns: Any) -> FeatureSchema:
        """Return the schema that feature columns declare: a list of them, or a pair of lists (linear, deep).

        It is that of a model made from them, in the order such a model takes its fields.

        Raises:
            UnsupportedError: The adapter does not read feature columns.
        """
        raise UnsupportedError(
            f"the adapter {self.name!r} does not read a schema off feature columns",
            received=type(columns).__name__,
            hint="Write the schema by hand, use FeatureSchema.infer, or pass a model made from the columns",
        )

    @abstractmethod
    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return the model as a function of rows.

        Args:
            model: The model, left unchanged.
            schema: Its fields.
            inputs: How it takes a batch: ``"positional"``, ``"matrix"``, ``"mapping"``, ``"auto"``, or a callable from
                a dict of columns to ``(args, kwargs)``.
            output: What it returns, where the caller knows.
        """

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """Return a new model of the same framework that has the crosses; see :func:`nid_plugins.inject`.

        Raises:
            UnsupportedError: The adapter does not inject.
        """
        raise UnsupportedError(
            f"the adapter {self.name!r} cannot inject crosses",
            received=f"{type(model).__qualname__}, mode={mode!r}",
        )

    def cross_embeddings(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the learned embeddings of an injected model, cross name to array (vocabulary + 1, dim).

        Raises:
            UnsupportedError: The model has no injected crosses.
        """
        raise UnsupportedError(
            "the model has no injected crosses",
            received=type(model).__qualname__,
            hint="Call nid.inject first",
        )

    def monitor(self, model: Any, core: InteractionMonitor) -> Any:
        """Return the framework's own kind of callback round a monitor's core; see :func:`nid_plugins.monitor`.

        Args:
            model: The model that will be trained.
            core: What the callback calls: ``begin``, ``step_end``, ``epoch_end``, ``end``.

        Raises:
            UnsupportedError: The adapter has none.
        """
        raise UnsupportedError(
            f"the adapter {self.name!r} has no callback for training",
            received=type(model).__qualname__,
            hint="Call the methods of nid_plugins.callbacks.InteractionMonitor from the training loop",
        )


def class_paths(model: object) -> list[str]:
    """Return the full paths of the model's class and its bases, nearest first."""
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
