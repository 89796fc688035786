"""The conformance suite of detectors: what every detector promises, as one class to subclass."""

from __future__ import annotations

from nid_plugins.testing.detector_answering import Answering
from nid_plugins.testing.detector_choosing import Choosing
from nid_plugins.testing.detector_finding import Finding


class DetectorConformance(Choosing, Answering, Finding):
    """Tests of one detector. Name a subclass ``Test...`` and pytest runs them.

    The attributes to fill in are those of :class:`~nid_plugins.testing.detector_case.DetectorCase`. There are no
    options to leave a test out.

    Example:
        >>> class TestMyDetector(DetectorConformance):  # doctest: +SKIP
        ...     detector = "my_detector"
        ...     plugin = "my_nid_plugin.plugin"
        ...     libraries = ("sklearn",)
        ...     other_options = {"depth": 5}
        ...     bad_options = {"depth": (0, 1.5, "deep")}
    """
