"""The built-in detectors, baselines and executors, registered like anyone else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.detection.archdetect import ArchDetect
from nid_plugins.detection.baselines import Mode, Oov, Sample, ZeroEmbedding
from nid_plugins.detection.executors import SerialExecutor, ThreadExecutor
from nid_plugins.detection.gradient_nid import GradientNID
from nid_plugins.detection.least_squares import LeastSquares
from nid_plugins.detection.matching_pursuit import MatchingPursuit
from nid_plugins.detection.nid import NID
from nid_plugins.detection.process_executor import ProcessExecutor
from nid_plugins.detection.ray_executor import RayExecutor
from nid_plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def nid_register_detectors(register: Callable[[object], None]) -> None:
    """Register the detectors."""
    for detector in (LeastSquares(), NID(), GradientNID(), ArchDetect(), MatchingPursuit()):
        register(detector)


@hookimpl
def nid_register_baselines(register: Callable[[object], None]) -> None:
    """Register the baselines."""
    for baseline in (Mode(), Oov(), Sample(), ZeroEmbedding()):
        register(baseline)


@hookimpl
def nid_register_executors(register: Callable[[object], None]) -> None:
    """Register the executors."""
    for executor in (SerialExecutor(), ThreadExecutor(), ProcessExecutor(), RayExecutor()):
        register(executor)
