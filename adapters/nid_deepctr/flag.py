"""DeepCTR works on tf_keras only. Without the flag that chooses it, users are told what to set and when."""

from __future__ import annotations

import sys

from nid_plugins.adapter import class_paths
from nid_plugins.errors import UnsupportedError


def check_legacy(model: object) -> None:
    """Check that a model of DeepCTR layers is one of tf_keras.

    Raises:
        UnsupportedError: It is one of Keras 3.
    """
    if not any(path.startswith("tf_keras.") for path in class_paths(model)):
        raise wrong_keras(f"{type(model).__qualname__} of {class_paths(model)[0].partition('.')[0]}")


def check_legacy_layers() -> None:
    """Check that DeepCTR's layers were made for tf_keras, i.e. that models can be built at all.

    Raises:
        UnsupportedError: They were made for Keras 3.
    """
    from deepctr.layers.core import PredictionLayer

    if not any(base.__module__.startswith("tf_keras.") for base in PredictionLayer.__mro__):
        raise wrong_keras("DeepCTR on Keras 3")


def wrong_keras(received: str) -> UnsupportedError:
    """Return the error that says what to set."""
    version = getattr(sys.modules.get("tensorflow"), "__version__", "")
    series = ".".join(version.split(".")[:2])
    package = f'"tf-keras=={series}.*"' if series else "the tf-keras of TensorFlow's version"
    return UnsupportedError(
        "DeepCTR works on tf_keras only: set the environment variable TF_USE_LEGACY_KERAS=1 before TensorFlow is first "
        f"imported, e.g. in the shell that starts Python, and pip install {package}",
        received=received,
    )
