"""Names as the code writes them lead to where they are documented.

A class is documented under the name users import, ``nid_plugins.FeatureSchema``; annotations say ``FeatureSchema``, and
docstrings may name the module that holds it. Sphinx looks names up in the current module only. Here a name is found by
its last parts where just one documented object ends in them; a name that fits none or several is left to be warned of.
Modules that explain themselves in the source only are named without a link, as long as they exist.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, cast

from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.domains.python import PythonDomain
    from sphinx.environment import BuildEnvironment


def documented(domain: PythonDomain, target: str) -> set[str]:
    """Return the names of documented objects, not counting their aliases, that end in a name's last parts."""
    parts = target.split(".")
    # Of a dotted path the last part is the name, with that of its class where there is one.
    kept = 2 if len(parts) > 1 and parts[-2][:1].isupper() else 1
    end = "." + ".".join(parts[-kept:])
    return {name for name, entry in domain.objects.items() if not entry.aliased and name.endswith(end)}


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: TextElement) -> Element | None:
    if node.get("refdomain") != "py":
        return None
    domain = cast("PythonDomain", env.get_domain("py"))
    target = node["reftarget"]
    if "." in target and not target.startswith("nid_") and not target[:1].isupper():
        return None  # of another package
    if node["reftype"] == "mod":
        return contnode if target.startswith("nid_") and importlib.util.find_spec(target) else None
    found = documented(domain, target)
    if len(found) != 1:
        return None
    name = found.pop()
    entry = domain.objects[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
