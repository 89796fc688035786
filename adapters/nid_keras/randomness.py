"""TensorFlow's and Keras's random state, left as it was found."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from tensorflow.python.eager import context

from nid_plugins.adapting.randomness import python_random_kept

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def random_kept() -> Iterator[None]:
    """Restore at the end the state of Python, NumPy, ``tf.random.set_seed`` and tf_keras's seeds.

    From the latter two a seed is drawn for each random operation and initialiser. They have no public way to be read;
    where a version keeps them elsewhere, they are left alone.
    """
    before = [(generator, generator.getstate()) for generator in _generators()]
    with python_random_kept():
        try:
            yield
        finally:
            for generator, state in before:
                generator.setstate(state)


def _generators() -> list[Any]:
    seeds = getattr(sys.modules.get("tf_keras.src.backend"), "_SEED_GENERATOR", None)
    found = [getattr(context.context(), "_rng", None), getattr(seeds, "generator", None)]
    return [generator for generator in found if hasattr(generator, "setstate")]
