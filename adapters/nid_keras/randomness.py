"""TensorFlow's and the Kerases' random state, and the numbers in their automatic names, left as they were found."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from tensorflow.python.eager import context

from nid_plugins.adapting.randomness import python_random_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABSENT = object()
_KERAS3 = "keras.src.backend.common.global_state"


@contextlib.contextmanager
def random_kept() -> Iterator[None]:
    """Restore at the end the state of Python, NumPy, ``tf.random.set_seed`` and both Kerases' seeds.

    From the latter a seed is drawn for each random operation and initialiser. ``set_random_seed``, which a function of
    the user's may call, puts new generators in their place rather than changing their state: so both are kept. There is
    no public way to read them; where a version keeps them elsewhere, they are left alone.
    """
    tf_keras = getattr(sys.modules.get("tf_keras.src.backend"), "_SEED_GENERATOR", None)
    owners = [(context.context(), ("_seed", "_rng")), (tf_keras, ("generator",))]
    held: list[tuple[Any, str, Any]] = [
        (owner, name, getattr(owner, name, _ABSENT))
        for owner, names in owners
        if owner is not None
        for name in names
    ]
    states = [(value, value.getstate()) for _, _, value in held if hasattr(value, "getstate")]
    with python_random_kept(), _keras3_kept():
        try:
            yield
        finally:
            for owner, name, value in held:
                if value is not _ABSENT:
                    setattr(owner, name, value)
                elif hasattr(owner, name):
                    delattr(owner, name)
            for generator, state in states:
                generator.setstate(state)


@contextlib.contextmanager
def _keras3_kept() -> Iterator[None]:
    known = sys.modules.get(_KERAS3)
    if not hasattr(known, "get_global_attribute") or not hasattr(known, "set_global_attribute"):
        yield
        return
    state: Any = known
    names = ("global_random_seed", "global_seed_generator")
    held = {name: state.get_global_attribute(name) for name in names}
    variable = getattr(held["global_seed_generator"], "state", None)
    before = None if variable is None else variable.numpy()
    try:
        yield
    finally:
        for name, value in held.items():
            state.set_global_attribute(name, value)
        if variable is not None:
            variable.assign(before)


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """Restore at the end the numbers of automatic names: the user's next layer is called what it would have been."""
    tf_keras = getattr(sys.modules.get("tf_keras.src.backend"), "PER_GRAPH_OBJECT_NAME_UIDS", {})
    state: Any = sys.modules.get(_KERAS3)
    keras3 = state.get_global_attribute("object_name_uids") if state is not None else None
    counters = [*tf_keras.values(), *([] if keras3 is None else [keras3])]
    before = [(counter, dict(counter)) for counter in counters]
    try:
        yield
    finally:
        for counter, numbers in before:
            counter.clear()
            counter.update(numbers)
