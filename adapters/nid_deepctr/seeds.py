"""TensorFlow's and tf_keras's global seeds, kept also where someone sets them anew."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from nid_keras.randomness import random_kept
from tensorflow.python.eager import context

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def seeds_kept() -> Iterator[None]:
    """Restore at the end what :func:`nid_keras.randomness.random_kept` does, and what ``set_seed`` puts in its place.

    A function of the user's, such as a builder of models, may call ``tf_keras.utils.set_random_seed``: that makes new
    generators, rather than changing the state of those there are.
    """
    owners = (context.context(), getattr(sys.modules.get("tf_keras.src.backend"), "_SEED_GENERATOR", None))
    names = ("_seed", "_rng", "generator")
    before = [
        (owner, name, getattr(owner, name)) for owner in owners for name in names if hasattr(owner, name)
    ]
    with random_kept():
        try:
            yield
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)
