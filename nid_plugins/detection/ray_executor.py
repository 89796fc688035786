"""Ray: actors that hold the model, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import pickle
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from nid_plugins.detection.executors import Executor, packed, worker_count
from nid_plugins.errors import PluginError
from nid_plugins.ray_runtime import started_ray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nid_plugins.detection.executors import Mapper

RETRIES = 3
"""How often an item is tried again after the actor that worked on it died."""
AHEAD = 2
"""Items an actor has at a time: one it works on and one that waits."""


class Holder:
    """The actor: a function, and the model in it, unpacked once."""

    def __init__(self, data: bytes) -> None:
        self._function = pickle.loads(data)  # noqa: S301 - packed by the process that asks

    def ready(self) -> None:
        """Tell that it has begun to exist: Ray makes an actor when there is room for it."""

    def call(self, item: object) -> Any:
        """Apply the function."""
        return self._function(item)


class RayExecutor(Executor):
    """Actors query and explain, each with the model in it.

    Without a Ray of its own (``ray.init``), the process gets a local one, which stays until the process ends. The model
    is put into Ray's object store once, whatever the number of actors. When an actor dies, or the machine under it, a
    new one takes its place and its items are worked on again; a result counts once, for it is kept by the item's place.

    Args:
        workers: Number of actors; by default as many as the cluster has CPUs for.
        cpus: CPUs an actor takes; the model's own threads are as many.
        gpus: GPUs an actor takes.
        retries: How often an item is tried again after its actor died.
    """

    name = "ray"
    remote = True

    def __init__(
        self, workers: int | None = None, *, cpus: float = 1, gpus: float = 0, retries: int = RETRIES
    ) -> None:
        self.workers = worker_count(workers)
        self.cpus = cpus
        self.gpus = gpus
        self.retries = retries

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield results in the order of the items.

        Raises:
            MissingExtraError: Ray is not installed.
            SettingError: The function cannot be pickled.
            PluginError: Actors died again and again.
        """
        with self.hold(function) as mapped:
            yield from mapped(items)

    @contextlib.contextmanager
    def hold(self, function: Callable[[Any], Any]) -> Iterator[Mapper]:
        """Give a :meth:`map` of one function; the actors live as long as the context.

        Raises:
            MissingExtraError: Ray is not installed.
            SettingError: The function cannot be pickled.
        """
        ray = started_ray()
        data = ray.put(packed(function))
        kind = ray.remote(Holder).options(num_cpus=self.cpus, num_gpus=self.gpus)
        count = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1) // max(self.cpus, 1)))
        crew = _Crew(ray, lambda: kind.remote(data), count, self.retries)
        try:
            yield crew.map
        finally:
            crew.dismiss()


class _Crew:
    """Actors, and which of them works on what. Those that Ray has no room for yet join when it has."""

    def __init__(self, ray: Any, hire: Callable[[], Any], count: int, retries: int) -> None:
        self._ray = ray
        self._hire = hire
        self._actors: list[Any] = []
        self._arriving: dict[Any, Any] = {}  # of each answer to "are you there": the actor
        self._retries = retries
        self._never_came = 0
        errors = ray.exceptions
        self._deaths = (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError)
        for _ in range(count):
            self._call_for_one()

    def _call_for_one(self) -> None:
        actor = self._hire()
        self._arriving[actor.ready.remote()] = actor

    def dismiss(self) -> None:
        """Let the actors go."""
        for actor in [*self._actors, *self._arriving.values()]:
            with contextlib.suppress(Exception):  # one that is dead already
                self._ray.kill(actor)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order, and work ahead of the caller by a few items an actor."""
        source = enumerate(items)
        again: deque[tuple[int, Any]] = deque()
        busy: dict[Any, tuple[int, Any, Any]] = {}  # of each answer to come: place, item, actor
        ready: dict[int, Any] = {}
        deaths: Counter[int] = Counter()
        due = 0
        more = True
        while True:
            room = AHEAD * len(self._actors)
            # Without an actor yet, one item is drawn all the same: there may be none to wait for.
            while more and len(again) + len(busy) < max(room, 1) and len(ready) < max(room, 1):
                drawn = next(source, None)
                if drawn is None:
                    more = False
                else:
                    again.append(drawn)
            while again and len(busy) < room:
                place, item = again.popleft()
                actor = self._idlest(busy)
                busy[actor.call.remote(item)] = (place, item, actor)
            while due in ready:
                yield ready.pop(due)
                due += 1
            if not (busy or again or more):
                return
            if not busy and not self._arriving:
                continue
            (answer,), _ = self._ray.wait([*busy, *self._arriving], num_returns=1)
            if answer in self._arriving:
                self._arrived(answer)
                continue
            place, item, actor = busy.pop(answer)
            try:
                ready[place] = self._ray.get(answer)
            except self._deaths as error:
                self._replace(actor)
                deaths[place] += 1
                if deaths[place] > self._retries:
                    raise _given_up(f"{deaths[place]} times on one item") from error
                again.append((place, item))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error

    def _arrived(self, answer: Any) -> None:
        actor = self._arriving.pop(answer)
        try:
            self._ray.get(answer)
        except self._deaths as error:
            self._never_came += 1
            if self._never_came > self._retries:
                raise _given_up(
                    f"{self._never_came} times before they began: {str(error).splitlines()[-1]}"
                ) from error
            self._call_for_one()
        else:
            self._actors.append(actor)

    def _idlest(self, busy: dict[Any, tuple[int, Any, Any]]) -> Any:
        load = Counter(id(actor) for _, _, actor in busy.values())
        return min(self._actors, key=lambda actor: load[id(actor)])

    def _replace(self, dead: Any) -> None:
        """Hire a new actor for a dead one, once, however many of its answers are missed."""
        left = [actor for actor in self._actors if actor is not dead]
        if len(left) < len(self._actors):
            self._actors = left
            self._call_for_one()


def _given_up(received: str) -> PluginError:
    return PluginError(
        "the actors died again and again",
        received=received,
        hint="Often it is memory that is short: take fewer workers, or less memory=",
    )
