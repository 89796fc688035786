"""The options of a tower of crosses, checked once for every framework."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.embeddings import check_embeddings
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.plan import CrossPlan


@dataclasses.dataclass(frozen=True)
class TowerOptions:
    """Options of the layer that turns crosses into a correction of a logit. Made, and checked, by :meth:`of`.

    Attributes:
        dim: Length of an embedding.
        hidden: Widths of the layers of an MLP without biases on the embeddings, beside the linear path.
        dropout: Rate of dropout on the embeddings.
        l2: Weight of the squared norm of the embedding table.
        embeddings: Cross name to float64 array (V + 1, dim) to start from.
        train_embeddings: Whether the table is trained.
        train_projection: Whether the linear path and the MLP are trained.
        seed: Of the initial linear path and MLP.
    """

    dim: int = 8
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    l2: float = 0.0
    embeddings: Mapping[str, npt.NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    train_embeddings: bool = True
    train_projection: bool = True
    seed: int = 0

    @classmethod
    def of(cls, crosses: CrossFeatures | CrossPlan | None, **options: Any) -> TowerOptions:
        """Return options as a user gave them, checked.

        Args:
            crosses: The crosses the tower is for, or their plan; None while they are yet to be chosen, when there can be
                no embeddings to start from.
            **options: Any of the attributes; ``embeddings`` may hold whatever NumPy reads, or be None.

        Raises:
            SettingError: An option is unknown or out of its domain, or embeddings do not fit the crosses.
        """
        check_names(options, cls.names(), "unknown option of inject")
        given = {**{field.name: field.default for field in dataclasses.fields(cls)}, **options}
        dim = positive("dim", given["dim"])
        names, sizes = ((), ()) if crosses is None else (crosses.names, crosses.vocabulary_sizes)
        hidden, seed = given["hidden"], given["seed"]
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise SettingError("hidden is not a list of widths", received=repr(hidden), expected="e.g. (32,)")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise SettingError("seed out of range", received=repr(seed), expected="an integer")
        return cls(
            dim=dim,
            hidden=tuple(positive("hidden", width) for width in hidden),
            dropout=fraction("dropout", given["dropout"], below=1.0),
            l2=fraction("l2", given["l2"], below=math.inf),
            embeddings=check_embeddings(options.get("embeddings"), names, sizes, dim),
            train_embeddings=flag("train_embeddings", given["train_embeddings"]),
            train_projection=flag("train_projection", given["train_projection"]),
            seed=int(seed),
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(field.name for field in dataclasses.fields(cls))


def check_names(options: Mapping[str, Any], allowed: Iterable[str], problem: str) -> None:
    """Check the names of options passed on as keywords.

    Args:
        options: The options.
        allowed: Names there are.
        problem: What the error says when there is another one, e.g. ``"unknown option of inject"``.

    Raises:
        SettingError: An option is not allowed.
    """
    allowed = list(allowed)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise SettingError(problem, received=unknown, expected=f"of {allowed}")


def positive(option: str, value: object) -> int:
    """Return ``value`` as an int.

    Raises:
        SettingError: Not an integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SettingError(
            f"{option} out of range", received=repr(value), expected="an integer of at least 1"
        )
    return int(value)


def fraction(option: str, value: object, *, below: float) -> float:
    """Return ``value`` as a float.

    Raises:
        SettingError: Not a number in ``[0, below)``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < below:
        raise SettingError(
            f"{option} out of range", received=repr(value), expected=f"0 <= {option} < {below:g}"
        )
    return float(value)


def flag(option: str, value: object) -> bool:
    """Return ``value`` as a bool.

    Raises:
        SettingError: Neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise SettingError(f"{option} is a switch", received=repr(value), expected="True or False")
    return bool(value)
