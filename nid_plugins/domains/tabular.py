"""Tables of any kind: one row, its values replaced by typical ones, by those of another row, or by given ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.errors import FrameError, NidError, SettingError
from nid_plugins.frames import columns_of

if TYPE_CHECKING:
    import pandas as pd

    from nid_plugins.detection.masks import Masks

POOL = 10_000
"""Rows of the background that ``off="sample"`` draws from."""


@dataclass(frozen=True, eq=False)
class Tabular(Domain):
    """Columns of a table, numbers or not, for any ``predict_proba``.

    For an instance that is a mapping, a pandas series or a frame of one row the model gets a pandas frame with the
    columns and types of the background; for an array (p,) it gets an array (n, p).

    Args:
        background: Typical rows: a frame, a mapping of name to 1-D array, or an array (n, p).
        off: What an off value becomes: ``"typical"``, the mean of a column of floats and the most frequent value of
            any other; ``"sample"``, the value of a row of the background, drawn anew for every mask; or a mapping of
            name to value (an array (p,) for arrays).
        names: Names of an array's columns.
    """

    background: Any = None
    off: Any = "typical"
    names: Any = None
    name: ClassVar[str] = "tabular"

    def __post_init__(self) -> None:
        if isinstance(self.off, str):
            if self.off not in {"typical", "sample"}:
                raise SettingError(
                    "unknown off", received=repr(self.off), expected='"typical", "sample" or a value a column'
                )
            return
        if not isinstance(self.off, Mapping | list | tuple | np.ndarray):
            raise SettingError(
                "unknown off",
                received=type(self.off).__name__,
                expected='"typical", "sample", a mapping of name to value, or an array',
            )

    def features(self, instance: Any) -> Features:
        """Read a row.

        Raises:
            FrameError: Not a row, or the background does not fit it.
            SettingError: What an off value becomes is not said.
        """
        if isinstance(self.off, str) and self.background is None:
            raise SettingError(
                f"off={self.off!r} needs a background", hint="Pass background=, or values as off="
            )
        array = _as_array(instance)
        if array is None:
            return self._of_frame(_one_row(instance))
        names = [f"x{k}" for k in range(len(array))] if self.names is None else list(self.names)
        if len(names) != len(array) or not all(isinstance(one, str) for one in names):
            raise FrameError(
                "names do not fit the row", received=f"{len(names)} names", expected=f"{len(array)} strings"
            )
        return _Arrays(array, self._array_pool(array), names, drawn=self._drawn)

    @property
    def _drawn(self) -> bool:
        return isinstance(self.off, str) and self.off == "sample"

    def _array_pool(self, row: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if not isinstance(self.off, str):
            return _numbers(self.off, (1, len(row)), "off", row=True)
        background = _numbers(self.background, (-1, len(row)), "the background")
        return background[:POOL] if self._drawn else background.mean(axis=0, keepdims=True)

    def _of_frame(self, row: pd.DataFrame) -> Features:
        import pandas as pd

        names = list(row.columns)
        if isinstance(self.off, str):
            background = _frame(self.background)
            missing = [name for name in names if name not in background.columns]
            if missing or not len(background):
                raise FrameError(
                    "the background lacks columns" if missing else "the background is empty",
                    received=missing or "0 rows",
                    expected=f"rows of {names}",
                )
            background = background[names]
            pool = background.iloc[:POOL] if self._drawn else _typical(background)
        else:
            given = self.off if isinstance(self.off, Mapping) else {}
            if set(given) != set(names):
                raise SettingError(
                    "off does not fit the row",
                    received=sorted(map(str, given)),
                    expected=f"a value for each of {names}",
                )
            pool = pd.DataFrame({name: [given[name]] for name in names})
        return _Frames(row, pool, drawn=self._drawn)


def _as_array(instance: Any) -> npt.NDArray[Any] | None:
    """Return an array (p,) of a row that has no names, or None."""
    if hasattr(instance, "detach"):
        instance = instance.detach().cpu()
    if (
        not isinstance(instance, np.ndarray | list | tuple)
        and type(instance).__module__.split(".")[0] != "torch"
    ):
        return None
    row: npt.NDArray[Any] = _numbers(instance, (1, -1), "the instance", row=True)[0]
    return row


def _numbers(given: Any, shape: tuple[int, int], what: str, *, row: bool = False) -> npt.NDArray[Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise FrameError(f"{what} is not an array", received=f"{type(given).__name__}: {error}") from error
    array = array[None] if row and array.ndim == 1 else array
    fits = array.ndim == 2 and all(want in {-1, have} for want, have in zip(shape, array.shape, strict=True))
    if not fits or 0 in array.shape or array.dtype.kind not in "biuf":
        raise FrameError(
            f"{what} does not fit",
            received=f"shape {np.shape(given)}, dtype {array.dtype}",
            expected=f"numbers of shape {tuple('n' if want < 0 else want for want in shape)}",
        )
    return array


def _frame(given: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return given.reset_index(drop=True)
    return pd.DataFrame(columns_of(given))


def _one_row(instance: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(instance, pd.Series):
        instance = instance.to_dict()
    if isinstance(instance, Mapping):
        instance = {name: [value] if np.ndim(value) == 0 else value for name, value in instance.items()}
    try:
        row = _frame(instance)
    except NidError as error:
        raise FrameError(f"not a row: {error}", received=type(instance).__name__) from error
    if len(row) != 1:
        raise FrameError(
            "not one row", received=f"{len(row)} rows", expected="1 row", hint="Pass frame.iloc[[k]]"
        )
    if not all(isinstance(name, str) for name in row.columns) or not row.columns.is_unique:
        raise FrameError("columns need names", received=list(row.columns), expected="different strings")
    return row


def _typical(background: pd.DataFrame) -> pd.DataFrame:
    """Return one row: means of floats, the most frequent value of the rest (the least of equals), of the same types."""
    import pandas as pd

    typical = background.iloc[:1].copy()
    for name in background.columns:
        column = background[name]
        values = column.dropna()
        if not len(values):
            continue
        value = values.mean() if column.dtype.kind == "f" else values.mode().iloc[0]
        typical[name] = pd.Series([value], index=typical.index).astype(column.dtype)
    return typical


class _Arrays(Features):
    """A row of numbers and the rows off values come from."""

    def __init__(
        self, row: npt.NDArray[Any], pool: npt.NDArray[Any], names: list[str], *, drawn: bool
    ) -> None:
        self.labels = names
        self.drawn = drawn
        self.nbytes = 24 * len(row)
        self._row = row
        self._pool = np.vstack([row[None], pool])

    def batch(self, on: Masks, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return rows of shape (n, p)."""
        return self._pool[_index(on, len(self._pool), rng), np.arange(on.shape[1])]

    def unswitched(self) -> npt.NDArray[np.bool_]:
        """Return the columns that hold the only off value there is."""
        return np.asarray((self._pool == self._row).all(axis=0))

    def shown(self) -> dict[str, Any]:
        """Return the values."""
        return {"kind": "row", "values": [f"{value:g}" for value in self._row.tolist()]}


class _Frames(Features):
    """A row of any types and the rows off values come from."""

    def __init__(self, row: pd.DataFrame, pool: pd.DataFrame, *, drawn: bool) -> None:
        import pandas as pd

        self.labels = list(row.columns)
        self.drawn = drawn
        self.nbytes = 64 * len(self.labels)
        self._columns: dict[str, Any] = {}
        for name in self.labels:
            own, kind = row[name], pool[name].dtype
            if isinstance(kind, pd.CategoricalDtype):
                if not own.dropna().isin(kind.categories).all():
                    raise FrameError(
                        "not a category of the background",
                        field=name,
                        received=repr(row[name].iloc[0]),
                        expected=f"one of {list(kind.categories)[:20]}",
                    )
                own = own.astype(kind)
            self._columns[name] = pd.concat([own, pool[name]], ignore_index=True).array
        self._size = 1 + len(pool)
        self._values = [str(row[name].iloc[0]) for name in self.labels]

    def batch(self, on: Masks, rng: np.random.Generator) -> pd.DataFrame:
        """Return a frame of n rows."""
        import pandas as pd

        index = _index(on, self._size, rng)
        return pd.DataFrame(
            {name: column.take(index[:, j]) for j, (name, column) in enumerate(self._columns.items())}
        )

    def unswitched(self) -> npt.NDArray[np.bool_]:
        """Return the columns that hold the only off value there is."""
        same = [all(value == column[0] for value in column[1:]) for column in self._columns.values()]
        return np.array(same, dtype=bool)

    def shown(self) -> dict[str, Any]:
        """Return the values."""
        return {"kind": "row", "values": self._values}


def _index(on: Masks, size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the row each value comes from: 0, the instance's own, where it is on; one other row a mask elsewhere."""
    other = 1 + (rng.random((len(on), 1)) * (size - 1)).astype(np.int64)
    return np.where(on, 0, other)
