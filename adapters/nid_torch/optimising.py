"""Parameters that join an optimiser while it is at work, and the schedules of its learning rates."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from nid_plugins.callbacks.injector import L2_OF_MEAN
from nid_plugins.errors import SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn
    from torch.optim import Optimizer

_RATES = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
"""What a group holds in units of a learning rate; schedulers write some of them."""

_SCALED_LISTS = ("base_lrs", "max_lrs", "_last_lr")
_COPIED_LISTS = ("lr_lambdas", "min_lrs", "base_momentums", "max_momentums")
"""What a scheduler holds once a group."""


class Newcomers:
    """Parameters about to join an optimiser as a group of its own. Everything is checked before anything is changed.

    The group has the settings of the first one. What the optimiser knows of its other parameters is not touched, and
    their learning rates go on as scheduled.

    Args:
        optimiser: Of ``torch.optim``, or with its interface.
        parameters: Name to parameter.
        rate: Learning rate over that of the first group.
        weight_decay: Of the new group; None for that of the first.
        schedulers: The scheduler of the optimiser's learning rates, or several; an empty list for one that is no longer
            at work.

    Raises:
        UnsupportedError: The optimiser takes no further parameters, or has a scheduler that was not given.
        SettingError: It has no weight decay, or something that is no scheduler of it was given.
    """

    def __init__(
        self,
        optimiser: Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        rate: float = 1.0,
        weight_decay: float | None = None,
        schedulers: Any = None,
    ) -> None:
        self._optimiser = optimiser
        self._rate = rate
        self._schedulers = schedulers_of(optimiser, schedulers)
        first = optimiser.param_groups[0]
        settings = {name: value for name, value in first.items() if name not in {"params", "param_names"}}
        settings |= {name: _times(settings[name], rate) for name in _RATES if name in settings}
        if weight_decay is not None:
            if "weight_decay" not in settings:
                raise SettingError(
                    f"{type(optimiser).__name__} has no weight decay",
                    received=f"l2 of {weight_decay / 2:g}",
                    hint="Leave l2 out and add the model's penalty() to the loss",
                )
            settings["weight_decay"] = weight_decay
        trained = {name: p for name, p in parameters.items() if p.requires_grad}
        self._group = {
            **settings,
            "params": list(trained.items() if "param_names" in first else trained.values()),
        }
        self._state = _fresh_state(optimiser, list(trained.values()), settings)

    def join(self) -> None:
        """Add the group, and extend the schedulers by it.

        Raises:
            UnsupportedError: The optimiser takes no group after all, and is left as it was.
        """
        groups = len(self._optimiser.param_groups)
        try:
            self._optimiser.add_param_group(self._group)
        except Exception as error:
            del self._optimiser.param_groups[groups:]
            raise _refused(self._optimiser, error) from error
        self._optimiser.state.update(self._state)
        for scheduler in self._schedulers:
            for name in (*_SCALED_LISTS, *_COPIED_LISTS):
                values = getattr(scheduler, name, None)
                if isinstance(values, list) and len(values) == groups:
                    # Not in place: two schedulers may share a list.
                    added = _times(values[0], self._rate) if name in _SCALED_LISTS else values[0]
                    setattr(scheduler, name, [*values, added])


def decay_of(optimiser: Optimizer, l2: float | None) -> float | None:
    """Return the weight decay that puts ``l2`` times the squared norm into a loss that is a mean over the batch.

    Args:
        optimiser: What trains.
        l2: As asked for; None for the default, where the optimiser's decay is a part of the gradient.

    Returns:
        Twice ``l2``; None, to go by the optimiser's first group, where nothing is asked for and its decay is not of
        that kind (AdamW) or it has none.
    """
    first = optimiser.param_groups[0]
    if l2 is not None:
        return 2 * l2
    return None if "weight_decay" not in first or first.get("decoupled_weight_decay") else 2 * L2_OF_MEAN


def schedulers_of(optimiser: Optimizer, given: Any) -> list[Any]:
    """Return the schedulers given, those inside others included.

    Args:
        optimiser: What they schedule.
        given: None, one scheduler or several.

    Raises:
        SettingError: One schedules another optimiser, or is no scheduler.
        UnsupportedError: The optimiser has a scheduler and none was given.
    """
    listed = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    found: list[Any] = []
    for scheduler in listed:
        if getattr(scheduler, "optimizer", None) is not optimiser or not hasattr(scheduler, "step"):
            raise SettingError(
                "not a scheduler of the optimiser's learning rates",
                received=type(scheduler).__name__,
                expected="what torch.optim.lr_scheduler makes of the optimiser",
            )
        found.append(scheduler)
        inner = getattr(scheduler, "_schedulers", None)  # of a sequence or chain of schedulers
        if inner:
            found += schedulers_of(optimiser, inner)
    if given is None and getattr(optimiser.step, "_wrapped_by_lr_sched", False):
        raise UnsupportedError(
            "the optimiser's learning rates are scheduled",
            received="no scheduler",
            hint="Pass scheduler=, so that the schedule can take the crosses in",
        )
    return found


def _fresh_state(
    optimiser: Optimizer, parameters: list[nn.Parameter], settings: Mapping[str, Any]
) -> dict[Any, Any]:
    """Return what the optimiser would know of these parameters had it been made with them.

    Most make their state at the first step; Adagrad makes it when it is constructed. A fresh one tells, and also
    whether several groups are allowed.
    """
    kind = type(optimiser)
    try:
        accepted = {name: settings[name] for name in inspect.signature(kind).parameters if name in settings}
        # One more: a tower may have one parameter alone, and LBFGS takes one group.
        several = [*parameters, torch.zeros(1)]
        state = dict(kind([{"params": [p]} for p in several], **accepted).state)
    except Exception as error:
        raise _refused(optimiser, error) from error
    state.pop(several[-1], None)
    return state


def _refused(optimiser: Optimizer, error: Exception) -> UnsupportedError:
    return UnsupportedError(
        f"the optimiser {type(optimiser).__name__} takes no further parameters",
        received=str(error),
        expected="one of torch.optim that takes groups of parameters",
    )


def _times(value: Any, rate: float) -> Any:
    # A learning rate may be a tensor, which the groups must not share.
    return value.clone() * rate if isinstance(value, torch.Tensor) else value if rate == 1.0 else value * rate
