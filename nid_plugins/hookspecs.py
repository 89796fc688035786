"""The contract between nid-plugins and its plug-ins: every hook, what it gets and what it may return.

A plug-in is a module or an object with methods named as below and marked :data:`hookimpl`. It may take any subset of
a hook's arguments. Register hooks are called once a plug-in, when something of that kind is first asked for;
life-cycle hooks are called at every event, each implementation guarded from the failures of the others, and hook
wrappers are refused for that reason. The guide with one example a hook is ``docs/plugins/hooks.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    from nid_plugins.adapter import Adapter
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.executors import Executor
    from nid_plugins.detection.settings import DetectRequest
    from nid_plugins.domains import Domain
    from nid_plugins.report import InteractionReport

NAMESPACE = "nid_plugins"
"""Name of the project, of its hooks' markers and of the entry-point group, all three the same."""

hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)
"""Marks a plug-in's function as the implementation of the hook it is named after."""


@hookspec
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Add adapters: how one framework's models are recognised, queried and injected into.

    Args:
        register: Call it with an instance of :class:`nid_plugins.adapter.Adapter`, once for each.
    """


@hookspec
def nid_register_detectors(register: Callable[[Detector], object]) -> None:
    """Add detectors: what finds interacting sets from masks and the model's logits on them.

    Args:
        register: Call it with an instance of :class:`nid_plugins.detection.detector.Detector`.
    """


@hookspec
def nid_register_baselines(register: Callable[[Baseline], object]) -> None:
    """Add baselines: the values a feature takes when it is switched off.

    Args:
        register: Call it with an instance of :class:`nid_plugins.detection.baselines.Baseline`.
    """


@hookspec
def nid_register_executors(register: Callable[[Executor], object]) -> None:
    """Add executors: where the work on many instances runs.

    Args:
        register: Call it with an instance of :class:`nid_plugins.detection.executors.Executor`.
    """


@hookspec
def nid_register_domains(register: Callable[[Domain], object]) -> None:
    """Add domains: kinds of data with features of their own, and their own way of switching them off.

    Args:
        register: Call it with an instance of :class:`nid_plugins.domains.Domain`.
    """


@hookspec
def nid_register_commands(register: Callable[[click.Command], object]) -> None:
    """Add commands to the command line ``nid``.

    Args:
        register: Call it with a :class:`click.Command`; its name is the command's.
    """


@hookspec
def nid_before_detect(request: DetectRequest) -> Mapping[str, Any] | None:
    """Run before a detection starts: :func:`nid_plugins.detect`, or :func:`nid_plugins.explain` on a row.

    Explanations of domains (``nid.explain(..., domain=...)``) have neither schema nor report, and send no hooks.

    Args:
        request: What is about to run: the black box, the rows and the settings.

    Returns:
        None, or a dict of settings to change, e.g. ``{"perturbations": 2000}``; those of several plug-ins are applied
        in the order of the calls.
    """


@hookspec
def nid_after_detect(report: InteractionReport) -> None:
    """Run after a detection has finished; sent by whatever sends ``nid_before_detect``.

    Args:
        report: Its result.
    """


@hookspec
def nid_before_inject(model: Any, crosses: CrossFeatures) -> None:
    """Run before crosses are injected.

    Args:
        model: The model, or the builder of a fresh one.
        crosses: What will be injected.
    """


@hookspec
def nid_after_inject(model: Any, target: Any, crosses: CrossFeatures) -> None:
    """Run after crosses have been injected.

    Args:
        model: The model, unchanged, or the builder.
        target: The new model.
        crosses: What was injected.
    """


@hookspec
def nid_epoch_end(state: Mapping[str, Any]) -> None:
    """Run at the end of a training epoch, sent by whoever drives the training.

    Args:
        state: What is known of the epoch: ``"epoch"`` (from 0), ``"model"`` and the figures measured on it.
    """


@hookspec
def nid_exposure(events: Sequence[Mapping[str, Any]]) -> None:
    """Run when units have been exposed to the variants of an experiment, once a request, in the thread of the request.

    :class:`nid_plugins.experiment.Router` sends it. Keep it short: the request waits.

    Args:
        events: One mapping an exposure, with the keys ``experiment``, ``unit``, ``variant`` (assigned), ``served`` (whose
            model answered), ``fallback``, ``reason`` (of the fallback, or None), ``impression``, ``request``,
            ``timestamp`` (aware datetime, UTC), ``latency_ms``, ``prediction`` and ``covariate`` (or None);
            :mod:`nid_plugins.experiment.exposures` says what each is. The router's sequence is an
            :class:`~nid_plugins.experiment.Exposures`: it makes a mapping only when one is looked at, and its
            ``column(name)`` and ``to_arrow()`` give all events at once.
    """
