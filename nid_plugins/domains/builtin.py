"""The built-in domains, registered like anyone else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.domains.graph import Graph
from nid_plugins.domains.image import Image
from nid_plugins.domains.sequence import Letters
from nid_plugins.domains.tabular import Tabular
from nid_plugins.domains.text import Text
from nid_plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def nid_register_domains(register: Callable[[object], object]) -> None:
    """Register the domains."""
    for domain in (Text(), Image(), Tabular(), Letters(), Graph()):
        register(domain)
