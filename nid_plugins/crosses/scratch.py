"""Arrays that serve block after block: memory asked for anew is cleared by the system first, which takes longer than the work."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Scratch:
    """Named arrays, for one thread. What is asked for under a name is no longer what it was when the name is asked for again."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, Any], npt.NDArray[Any]] = {}

    def __call__(self, name: str, n: int, dtype: Any) -> npt.NDArray[Any]:
        """Return an array of shape (n,), of whatever values."""
        array = self._arrays.get((name, dtype))
        if array is None or len(array) < n:
            array = self._arrays[name, dtype] = np.empty(n, dtype=dtype)
        return array[:n]
