"""The random state that is not a framework's, left as it was found."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def python_random_kept() -> Iterator[None]:
    """Restore at the end the state of :mod:`random` and of NumPy's legacy generator.

    Frameworks' constructors seed them; the framework's own state is for the adapter to keep.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a builder may touch
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above
