"""What a domain is: a kind of data with its own features, and its own way of switching them off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nid_plugins.configurable import Configurable
from nid_plugins.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from nid_plugins.detection.masks import Masks

    Flags = npt.NDArray[np.bool_]


class Features(ABC):
    """The features of one instance, made by :meth:`Domain.features`.

    Attributes:
        labels: What each feature is called, shape (p,). Labels may repeat: an interaction names positions too.
        nbytes: Bytes one raw instance takes, roughly; batches are kept within a bound by it.
        drawn: Whether what an off feature holds is drawn anew for every mask. Otherwise the model is asked only once
            for masks that are equal.
    """

    labels: Sequence[str]
    nbytes: int = 1024
    drawn: bool = False

    @abstractmethod
    def batch(self, on: Masks, rng: np.random.Generator) -> Any:
        """Return raw instances, in the form the model takes a batch.

        Args:
            on: Shape (n, p): which features each instance keeps. A row of ones is the instance itself.
            rng: Source of randomness. Draw ``rng.random((n, ...))``, row by row the same number: the result then does
                not depend on the size of the batches.
        """

    def unswitched(self) -> Flags:
        """Return the features that hold their off value already, shape (p,): they cannot interact."""
        return np.zeros(len(self.labels), dtype=bool)

    def shown(self) -> dict[str, Any]:
        """Return what is needed to show the instance, JSON-ready: ``"kind"`` and what that kind of picture takes."""
        return {"kind": "list"}


class Domain(Configurable, ABC):
    """A kind of data: text, images, and so on.

    A plug-in registers an instance in the hook ``nid_register_domains``. A domain that takes options is a frozen
    dataclass; ``configured`` then returns a copy with other options.

    Attributes:
        name: What users write in ``domain=``.
    """

    kind: ClassVar[str] = "domain"

    @abstractmethod
    def features(self, instance: Any) -> Features:
        """Return the features of an instance.

        Raises:
            FrameError: It is not an instance of this domain, or has nothing to switch off.
        """

    def options(self) -> dict[str, Any]:
        """Return the options in force, JSON-ready; what JSON cannot hold is named or described."""
        names = getattr(self, "__dataclass_fields__", {})
        return {name: _described(getattr(self, name)) for name in names}


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple) and len(value) <= 20:
        return [_described(one) for one in value]
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def checked_features(domain: Domain, features: object) -> tuple[Features, list[str], Flags]:
    """Return an instance's features, their labels and which cannot be switched, after a check of the contract.

    Raises:
        PluginError: The domain broke it.
    """
    if not isinstance(features, Features):
        raise _broken(
            domain, "features", type(features).__name__, "an instance of nid_plugins.domains.Features"
        )
    labels = list(features.labels)
    if not all(isinstance(label, str) for label in labels):
        raise _broken(domain, "labels", labels[:5], "one string a feature")
    unswitched = np.asarray(features.unswitched())
    if unswitched.shape != (len(labels),) or unswitched.dtype != bool:
        raise _broken(
            domain,
            "unswitched features",
            f"shape {unswitched.shape}, dtype {unswitched.dtype}",
            f"booleans of shape ({len(labels)},)",
        )
    return features, labels, unswitched


def _broken(domain: Domain, what: str, received: object, expected: str) -> PluginError:
    return PluginError(
        f"the domain {domain.name!r} returned unusable {what}", received=received, expected=expected
    )
