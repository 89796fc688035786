"""What turns a DeepCTR-Torch model into one with crosses: subclasses of its own class, made at run time.

``isinstance``, ``compile``, ``fit``, ``evaluate`` and ``predict`` thus go on working, with the same inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from nid_torch.growing import TOWER, admit_earlier
from nid_torch.inject import corrected
from nid_torch.layers import CrossTower
from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from nid_torch.ids import CrossIds

# The models' classes are only known at run time; to the type checker the classes below are plain modules.
_Model: Any = nn.Module if TYPE_CHECKING else object


class Residual(_Model):  # type: ignore[misc]
    """Mixed into a model's class: a tower of crosses corrects its output.

    Attributes:
        cross_tower: The :class:`~nid_torch.layers.CrossTower`.
        nid_crosses: Names of the crosses.
        nid_output: What the model returns, ``"probability"`` or ``"logit"``.
        nid_frozen: Whether all but the tower stays in eval mode.
        nid_grown: Whether it gained the tower while it was trained; states saved before can then be loaded too.
    """

    cross_tower: CrossTower
    nid_crosses: tuple[str, ...]
    nid_output: Any
    nid_frozen: bool
    nid_grown = False

    def forward(self, X: Tensor) -> Tensor:
        """Return scores, shape (n, 1)."""
        # Read first: a model may write to its input.
        delta = self.cross_tower(X)
        return corrected(super().forward(X), delta, self.nid_output)

    def train(self, mode: bool = True) -> Any:
        """Set the mode; a frozen base stays in eval mode, the model's own flag included."""
        super().train(mode and not self.nid_frozen)
        self.cross_tower.train(mode)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.nid_grown:
            admit_earlier(self.cross_tower, state_dict, f"{prefix}{TOWER}.")
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Rebuilt(_Model):  # type: ignore[misc]
    """Mixed into the class of a model made with the crosses as further columns: it takes the inputs without them.

    Attributes:
        cross_ids: The :class:`~nid_torch.ids.CrossIds`.
        nid_columns: Names of the crosses' columns.
        nid_rebuilt: Names of the crosses, in the same order.
        nid_order: Buffer: column of (inputs, cross ids) side by side for each column the model wants.
    """

    cross_ids: CrossIds
    nid_columns: tuple[str, ...]
    nid_rebuilt: tuple[str, ...]
    nid_order: Tensor

    def forward(self, X: Tensor) -> Tensor:
        """Return scores, shape (n, 1)."""
        wide = torch.cat([X, self.cross_ids(X).to(X.dtype)], dim=1)
        out: Tensor = super().forward(wide.index_select(1, self.nid_order))
        return out

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train, from inputs without the crosses; see DeepCTR-Torch's ``fit``."""
        bound = inspect.signature(super().fit).bind(*args, **kwargs)
        if "x" in bound.arguments:
            bound.arguments["x"] = self._listed(bound.arguments["x"])
        if bound.arguments.get("validation_data"):
            x, *rest = bound.arguments["validation_data"]
            bound.arguments["validation_data"] = (self._listed(x), *rest)
        return super().fit(*bound.args, **bound.kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict, from inputs without the crosses; see DeepCTR-Torch's ``predict``."""
        return super().predict(self._listed(x), *args, **kwargs)

    def _listed(self, x: Any) -> Any:
        # Left to itself, the model would ask the mapping for the crosses too.
        if isinstance(x, Mapping):
            return [x[name] for name in self.feature_index if name not in self.nid_columns]
        return x


_KINDS: dict[str, tuple[type, str]] = {"residual": (Residual, "Crossed"), "rebuilt": (Rebuilt, "Rebuilt")}
_CLASSES: dict[tuple[str, type], type[Any]] = {}


def crossed_class(kind: str, base: type[Any]) -> type[Any]:
    """Return the subclass of a model's class, ``kind`` being ``"residual"`` or ``"rebuilt"``.

    The same class for the same arguments, so that pickle, which finds it by them, gives back the same type.
    """
    if (kind, base) not in _CLASSES:
        mixin, prefix = _KINDS[kind]
        body = {
            "__module__": __name__,
            "__reduce_ex__": _reduce,
            "nid_kinds": (*getattr(base, "nid_kinds", ()), kind),
            "nid_base": getattr(base, "nid_base", base),
        }
        made = type(prefix + base.__name__, (mixin, base), body)
        return _CLASSES.setdefault((kind, base), made)
    return _CLASSES[kind, base]


def _reduce(self: Any, protocol: Any) -> tuple[Any, ...]:  # noqa: ARG001 - the signature of __reduce_ex__
    return (_blank, (self.nid_kinds, self.nid_base), self.__dict__)


def _blank(kinds: tuple[str, ...], base: Any) -> Any:
    for kind in kinds:
        base = crossed_class(kind, base)
    return base.__new__(base)


def table_of(model: Any, column: str) -> Tensor:
    """Return the embedding table of a column: that of the deep part, or of the linear part if only that has it."""
    tables = model.embedding_dict if column in model.embedding_dict else model.linear_model.embedding_dict
    weight: Tensor = tables[column].weight
    return weight


def embeddings_of(model: nn.Module) -> dict[str, npt.NDArray[np.float32]]:
    """Return the embeddings of a model's injected crosses; empty when there are none.

    Of a residual model row 0 is zero; of a rebuilt one it was learned like any other. MLR and ONN keep what they learn
    elsewhere: rebuilt from them, these tables are as they were initialised.
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    for module in model.modules():
        if isinstance(module, CrossTower):
            found.update(module.cross_embeddings())
        if isinstance(module, Rebuilt):
            for name, column in zip(module.nid_rebuilt, module.nid_columns, strict=True):
                found[name] = table_of(module, column).detach().to("cpu", torch.float32, copy=True).numpy()
    return found


Builder = Callable[[list[Any], list[Any]], Any]
"""From linear and deep feature columns to a fresh model."""
