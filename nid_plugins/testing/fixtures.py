"""What the suite's tests share: the models under test, made once a class, and comparison of states."""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import NidError, NidWarning, UnsupportedError
from nid_plugins.plugins import get_manager, use_manager
from nid_plugins.testing.case import AdapterCase
from nid_plugins.testing.log import ClickLog, click_log
from nid_plugins.testing.manager import manager_with

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.plugins import PluginManager
    from nid_plugins.testing.log import Frame

BATCH = 96
"""Rows of one training step: some combinations are in it, some are not."""

_EPSILON = 1e-7  # where a black box clips probabilities, and their logits
_LIMIT = float(np.log1p(-_EPSILON) - np.log(_EPSILON))


class Fixtures(AdapterCase):
    """The suite without its tests."""

    _made: ClassVar[dict[tuple[type, str], Any]] = {}

    @pytest.fixture(autouse=True)
    def _manager(self) -> Iterator[None]:
        with use_manager(self._once("manager", self.manager)), warnings.catch_warnings():
            # That the kind of output was guessed is said in a warning; whether it is right is what is tested.
            warnings.simplefilter("ignore", NidWarning)
            yield

    @pytest.fixture
    def log(self) -> ClickLog:
        """The click log."""
        return click_log(dense=self.dense)

    @pytest.fixture
    def source(self, log: ClickLog) -> Iterator[Any]:
        """The model under test, trained a few steps. Tests leave it as it is: that they can is what they test."""
        yield from self._lent("source", lambda: self.trained(self.model_of(log), log))

    @classmethod
    def teardown_class(cls) -> None:
        """Let go of the models."""
        for key in [key for key in Fixtures._made if key[0] is cls]:
            del Fixtures._made[key]

    def manager(self) -> PluginManager:
        """Return the plug-in manager: with all that is installed, and this plug-in if it is not."""
        return manager_with("adapter", self.adapter, self.plugin)

    def model_of(self, log: ClickLog, seed: int = 1) -> Any:
        """Return a fresh model for the click log."""
        return self.model(log.schema, seed)

    def trained(self, model: Any, log: ClickLog, steps: int = 4) -> Any:
        """Return the model, having trained it."""
        for step in range(steps):
            part = slice(step * BATCH, (step + 1) * BATCH)
            self.train(model, log.rows(part.start, part.stop), log.label[part])
        return model

    def injected(self, mode: str, model: Any, log: ClickLog, **options: Any) -> Any:
        """Return the model with crosses: added to it, or a fresh one built with them."""
        if mode == "residual":
            return nid.inject(model, log.crosses, **{**self.residual_options, **options})
        build, columns = self.builder(log.schema)
        options = {**self.rebuild_options, **options}
        return nid.inject(build, log.crosses, mode="rebuild", columns=columns, **options)

    def refused(self, mode: str, model: Any, log: ClickLog) -> bool:
        """Return False for a mode the adapter supports; for another, see that it is refused and return True."""
        if mode in self.modes:
            return False
        adapter = get_manager().adapters()[self.adapter]
        columns = {"columns": list(log.schema)} if mode == "rebuild" else {}
        with self.raises(UnsupportedError):
            adapter.inject(model, log.crosses, mode=mode, **columns)
        return True

    def injects_nothing(self, model: Any, log: ClickLog) -> bool:
        """Return False for an adapter that injects; for another, see that it refuses to and return True."""
        refused = [self.refused(mode, model, log) for mode in ("residual", "rebuild")]
        return all(refused)

    def logits_of_predict(self, model: Any, frame: Frame) -> npt.NDArray[np.float64]:
        """Return the logits of the framework's own prediction, shape (n,)."""
        out = np.asarray(self.predict(model, frame)).astype(np.float64).reshape(-1)
        if self.output == "logit":
            return np.clip(out, -_LIMIT, _LIMIT)
        clipped = np.clip(out, _EPSILON, 1 - _EPSILON)
        return np.log(clipped) - np.log1p(-clipped)

    @contextlib.contextmanager
    def unchanged(self, model: Any, *, draws: bool = False) -> Iterator[None]:
        """See that the model, and unless something ``draws`` all random state, is the same at the end."""
        before, dice = frozen(self.state(model)), self._dice()
        yield
        difference = differs(before, frozen(self.state(model)))
        assert difference is None, f"the model is not as it was: {difference}"
        if not draws:
            difference = differs(dice, self._dice())
            assert difference is None, f"a random generator is not as it was: {difference}"

    @contextlib.contextmanager
    def raises(self, *kinds: type[NidError], says: str | None = None) -> Iterator[None]:
        """See that one of these typed errors is raised, and nothing else, and that it ``says`` something."""
        with pytest.raises(NidError) as caught:
            yield
        error = caught.value
        assert isinstance(error, kinds or (NidError,)), f"{type(error).__name__}: {error}"
        if says is not None:
            assert says in str(error), f"{error!r} does not name {says!r}"

    def _dice(self) -> Any:
        legacy = np.random.get_state()  # noqa: NPY002 - what a careless adapter would touch
        return frozen({"framework": self.random_state(), "random": random.getstate(), "numpy": legacy})

    def _lent(self, what: str, make: Callable[[], Any]) -> Iterator[Any]:
        """Yield a model made once a class; one that comes back changed is not lent again, or it would hide the change."""
        model = self._once(what, make)
        before = frozen(self.state(model))
        yield model
        if differs(before, frozen(self.state(model))) is not None:
            self._made.pop((type(self), what), None)

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        key = (type(self), what)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def seen(crosses: CrossFeatures, frame: Frame) -> list[set[int]]:
    """Return for each cross the ids of combinations that are in a frame."""
    return [{int(i) for i in column} - {0} for column in crosses.transform(frame).T]


def frozen(state: Any) -> Any:
    """Return a state with copies of its arrays, and tensors as arrays."""
    if isinstance(state, Mapping):
        return {key: frozen(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [frozen(value) for value in state]
    if hasattr(state, "__array__"):
        return np.asarray(state).copy()
    return copy.deepcopy(state)


def differs(before: Any, after: Any, where: str = "state") -> str | None:
    """Return where two frozen states differ in a bit, or None."""
    if isinstance(before, dict) and isinstance(after, dict):
        if list(before) != list(after):
            return f"{where} has the entries {list(after)}, had {list(before)}"
        pairs = [(f"{where}[{key!r}]", before[key], after[key]) for key in before]
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return f"{where} has {len(after)} entries, had {len(before)}"
        pairs = [(f"{where}[{i}]", *both) for i, both in enumerate(zip(before, after, strict=True))]
    elif isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        same = before.dtype == after.dtype and before.shape == after.shape
        return None if same and before.tobytes() == after.tobytes() else f"{where} is another array"
    else:
        return (
            None
            if type(before) is type(after) and before == after
            else f"{where} is {after!r}, was {before!r}"
        )
    return next((found for part in pairs if (found := differs(part[1], part[2], part[0]))), None)
