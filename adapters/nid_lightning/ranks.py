"""The processes of a distributed training run: what one finds out reaches the others; new parameters stay equal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from nid_plugins.adapter import class_paths
from nid_plugins.errors import NidError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long ranks wait for rank 0; a process that dies ends the wait at once, this is for one that works for hours."""

_KNOWN = {"SingleDeviceStrategy", "DDPStrategy"}
_SHARDED = {"DeepSpeedStrategy"}  # a subclass of DDPStrategy that is something else


class Ranks:
    """The processes that train one model. Made by all of them at the same point of the run.

    Args:
        size: Their number.
        rank: Which of them this is.
        group: Their process group on CPU, for waiting and for objects; None for a single process.

    Attributes:
        size: As given.
        rank: As given.
    """

    def __init__(self, size: int = 1, rank: int = 0, group: Any = None) -> None:
        self.size = size
        self.rank = rank
        self._group = group

    @classmethod
    def of(cls, trainer: Any) -> Ranks:
        """Return the processes of a trainer; each has to call this.

        Raises:
            UnsupportedError: The trainer spreads the parameters of one model over processes.
        """
        kinds = {path.rsplit(".", 1)[-1] for path in class_paths(trainer.strategy)}
        if not kinds & _KNOWN or kinds & _SHARDED:
            raise UnsupportedError(
                "crosses cannot be injected while this strategy trains",
                received=type(trainer.strategy).__qualname__,
                expected="one device, or distributed data parallel (DDP)",
                hint="Train the base, call nid.inject, and train the result",
            )
        size = int(trainer.world_size)
        if size == 1:
            return cls()
        # A group of its own: the usual one gives up after half an hour, and on GPUs takes no objects.
        return cls(size, int(trainer.global_rank), dist.new_group(backend="gloo", timeout=PATIENCE))

    def from_first(self, work: Callable[[], T]) -> T:
        """Have rank 0 do something while the others wait, and return its result on all of them.

        Args:
            work: Called on rank 0 only; its result must be picklable.

        Raises:
            NidError: On the other ranks, when ``work`` raised on rank 0, where its own error goes on.
        """
        if self.size == 1:
            return work()
        told: list[Any] = [(False, None)]
        if self.rank == 0:
            try:
                told = [(True, work())]
            finally:
                dist.broadcast_object_list(told, src=0, group=self._group)
        else:
            dist.broadcast_object_list(told, src=0, group=self._group)
        done, result = told[0]
        if not done:
            raise NidError("rank 0 was interrupted", hint="Its own error says by what")
        return result  # type: ignore[no-any-return]

    def all_of(self, ok: bool) -> bool:
        """Return whether something holds on every rank."""
        if self.size == 1:
            return ok
        vote = torch.tensor([int(ok)])
        dist.all_reduce(vote, op=dist.ReduceOp.MIN, group=self._group)
        return bool(vote.item())

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over the ranks, as DDP does for the parameters it knows.

        DDP knows those the model had when it was wrapped. A gradient that only some ranks have is zero on the others;
        one that none has stays None.
        """
        if self.size == 1:
            return
        kinds: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
        for own in kinds.values():
            self._average(own)

    def _average(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        there = gradients[0].new_tensor([float(p.grad is not None) for p in parameters])
        flat = torch.cat([there, *(gradient.reshape(-1) for gradient in gradients)])
        dist.all_reduce(flat)
        flat /= self.size
        held = flat[: len(parameters)].tolist()
        means = torch.split(flat[len(parameters) :], [gradient.numel() for gradient in gradients])
        for parameter, mean, share in zip(parameters, means, held, strict=True):
            if share:
                _set_gradient(parameter, mean)


def _set_gradient(parameter: nn.Parameter, values: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = values.view_as(parameter).clone()
    else:
        parameter.grad.copy_(values.view_as(parameter))
