"""The traffic of the end-to-end benchmark: users who come back, and candidates for each of their requests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nid_plugins.simulate import World

TRAINING_ROWS = 80_000
CANDIDATES = 5
REQUESTS = 256  # in a call of the router
CHUNK = 100 * REQUESTS
PROFILE = ("device", "os", "browser", "segment", "recency")
CONTEXT = ("weekday", "hour", "publisher", "site", "banner_position", "depth")
START = np.datetime64("2030-01-01T00:00:00", "us")
DAYS = 14


class Traffic:
    """Requests of returning users.

    Args:
        world: Where profiles, contexts and ads come from; impressions the models were trained on are not used again.
        requests: How many.
        seed: Of the users.
    """

    def __init__(self, world: World, requests: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 11])
        self._world, self._requests = world, requests
        self._users = requests // 10
        activity = self._rng.lognormal(0.0, 1.0, self._users)
        self._activity = np.cumsum(activity / activity.sum())

    def chunks(self) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
        """Yield candidates (rows of one request together), the user and the moment of each request."""
        known = TRAINING_ROWS + self._users
        drawn = self._world.draw(known).frame
        profiles = {name: drawn[name][TRAINING_ROWS:] for name in PROFILE}
        size = CHUNK * CANDIDATES
        spent = -(-known // size)  # pieces that hold the impressions above
        pieces = self._world.chunks(spent * size + self._requests * CANDIDATES, size)
        made = 0
        for pool in itertools.islice(pieces, spent, None):
            n = min(len(pool) // CANDIDATES, self._requests - made)
            user = np.minimum(np.searchsorted(self._activity, self._rng.random(n)), self._users - 1)
            frame = {name: values[: n * CANDIDATES].copy() for name, values in pool.frame.items()}
            for name in CONTEXT:
                frame[name] = np.repeat(frame[name][::CANDIDATES], CANDIDATES)
            for name in PROFILE:
                frame[name] = np.repeat(profiles[name][user], CANDIDATES)
            share = (made + np.arange(n)) / self._requests
            moment = START + (share * DAYS * 86_400e6).astype("timedelta64[us]")
            yield frame, user, moment
            made += n


def best_of(predictions: np.ndarray) -> np.ndarray:
    """Return the row of the best candidate of each request."""
    slates = predictions.reshape(-1, CANDIDATES)
    return slates.argmax(axis=1) + np.arange(len(slates)) * CANDIDATES
