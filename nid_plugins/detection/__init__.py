"""Detection: masks, baselines, detectors, MADEX for one row and GLIDER for many."""

from __future__ import annotations

from nid_plugins.detection.archdetect import ArchDetect
from nid_plugins.detection.baselines import Baseline
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.executors import Executor, SerialExecutor, ThreadExecutor
from nid_plugins.detection.glider import detect, explain
from nid_plugins.detection.gradient_nid import GradientNID
from nid_plugins.detection.least_squares import LeastSquares
from nid_plugins.detection.masks import MaskDesign, random_masks
from nid_plugins.detection.matching_pursuit import MatchingPursuit
from nid_plugins.detection.nid import NID
from nid_plugins.detection.process_executor import ProcessExecutor
from nid_plugins.detection.ray_executor import RayExecutor
from nid_plugins.detection.settings import DetectRequest, DetectSettings

__all__ = [
    "NID",
    "ArchDetect",
    "Baseline",
    "DetectRequest",
    "DetectSettings",
    "Detector",
    "Executor",
    "Explanation",
    "GradientNID",
    "LeastSquares",
    "MaskDesign",
    "MatchingPursuit",
    "ProcessExecutor",
    "RayExecutor",
    "SerialExecutor",
    "ThreadExecutor",
    "detect",
    "explain",
    "random_masks",
]
