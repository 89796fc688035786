"""The experiment as GrowthBook's kits take it, so that an app can assign units itself, and agree with the router."""

from __future__ import annotations

from typing import Any

from nid_plugins.experiment import checks
from nid_plugins.experiment.design import Design


def growthbook_payload(design: Design) -> dict[str, Any]:
    """Return the features payload of one experiment.

    It goes as JSON to any kit, e.g. ``GrowthBook(attributes={"user_id": "u1"}, features=payload["features"])``; the value
    of the feature ``design.name`` is the name of the variant, the control's for a unit that is not in the experiment. Give
    the kit ids as text. The window of the design is not part of it: GrowthBook starts and stops experiments by hand.

    Args:
        design: The plan.

    Returns:
        ``{"features": {name: {"defaultValue": ..., "rules": [...]}}}``, fit for JSON.

    Raises:
        SettingError: ``design`` is none.
    """
    checks.instance(design, "design", Design)
    rule: dict[str, Any] = {
        "key": design.name,
        "name": design.name,
        "seed": design.seed,
        "hashAttribute": design.unit,
        "hashVersion": 2,
        "phase": "0",
        "coverage": design.coverage,
        "weights": list(design.weights),
        "variations": [variant.name for variant in design.variants],
        "meta": [{"key": variant.name, "name": variant.name} for variant in design.variants],
    }
    namespace = design.namespace
    if namespace is not None and namespace.hash_version == 1:
        rule["namespace"] = [namespace.name, namespace.start, namespace.stop]
    elif namespace is not None:
        rule["filters"] = [
            {
                "seed": namespace.name,
                "attribute": design.unit,
                "hashVersion": 2,
                "ranges": [[namespace.start, namespace.stop]],
            }
        ]
    feature = {"defaultValue": design.control.name, "rules": [rule]}
    return {"features": {design.name: feature}}
