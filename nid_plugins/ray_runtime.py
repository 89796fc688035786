"""Ray, imported and started when something asks for it."""

from __future__ import annotations

import logging
from typing import Any

from nid_plugins.errors import MissingExtraError


def started_ray() -> Any:
    """Return the module ``ray``, connected.

    A Ray that the process is connected to is used as it is. Otherwise ``ray.init`` is called, which joins the cluster
    that ``RAY_ADDRESS`` names, or starts a Ray of this machine that ends with the process.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            'executor="ray" needs Ray, which is not installed',
            received="no package ray",
            hint='Install the extra: pip install "nid-plugins[ray]"',
        ) from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    return ray
