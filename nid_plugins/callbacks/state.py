"""A monitor's state, read back from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nid_plugins.callbacks.record import Check
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.errors import ArtefactError

if TYPE_CHECKING:
    from nid_plugins.callbacks.monitor import InteractionMonitor


def load(monitor: InteractionMonitor, state: Mapping[str, Any], version: int) -> None:
    """Put a state into a monitor, all of it or nothing.

    Raises:
        ArtefactError: It is damaged, or written by a newer version.
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("version"), int):
        raise ArtefactError(
            "not the state of a monitor", received=type(state).__name__, expected="what state_dict() returned"
        )
    if state["version"] > version:
        raise ArtefactError(
            "the state was written by a newer version of nid-plugins",
            received=f"version {state['version']}",
            expected=f"at most {version}",
            hint="Upgrade nid-plugins",
        )
    try:
        monitor.restore(
            history=[Check.from_dict(spec) for spec in state["history"]],
            last=[InstanceResult.from_json(json.loads(line)) for line in state["last"]],
            clocks={name: float(state["pacing"][name]) for name in ("trained", "spent")},
            counters={name: int(state[name]) for name in ("step", "epoch", "since", "unchanged", "put_off")},
            stable=bool(state["stable"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"the state is damaged: {error!r}", expected="what InteractionMonitor.state_dict() returned"
        ) from error
