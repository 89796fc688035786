"""The JSON Schema of a design's file, and its verdicts as errors of ours: the path of the key, and what to write."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from nid_plugins.errors import MissingExtraError, SettingError
from nid_plugins.experiment import checks

SCHEMA_FILE = "design.schema.json"


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema, which editors can use too."""
    text = resources.files("nid_plugins.experiment").joinpath(SCHEMA_FILE).read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def check_layout(spec: Any) -> None:
    """Check what a file held against the JSON Schema.

    Raises:
        SettingError: It does not fit; the first key that does not is named.
        MissingExtraError: jsonschema is not installed.
    """
    try:
        import jsonschema
    except ImportError as error:
        raise MissingExtraError(
            "jsonschema is not installed", received=str(error), hint="pip install 'nid-plugins[ab]'"
        ) from error
    errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(spec))
    if errors:
        # A misspelt key is also a missing one: that it is unknown says more.
        raise _told(min(errors, key=lambda e: (e.validator != "additionalProperties", len(e.absolute_path))))


def _told(error: Any) -> SettingError:
    field = _path(error.absolute_path)
    if error.validator == "additionalProperties":
        keys = list(error.schema["properties"])
        key = next(key for key in error.instance if key not in keys)
        return SettingError(
            "unknown key",
            field=checks.path(field, key),
            expected=f"one of {', '.join(keys)}",
            hint=checks.near(key, keys),
        )
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        # Looked up at its own depth: a key of a metric is described there, not in the whole file.
        known = error.schema.get("properties", {}).get(key, {})
        what = _described(known) or "a value"
        return SettingError("missing key", field=checks.path(field, key), expected=f"{key}: {what}")
    return SettingError(
        "does not fit",
        field=field or None,
        received=repr(error.instance)[:200],
        expected=_described(error.schema) or error.message,
    )


def _described(part: dict[str, Any]) -> str | None:
    if "$ref" in part:
        part = {**schema()["$defs"][part["$ref"].rsplit("/", 1)[1]], **part}
    text = part.get("description")
    return None if text is None else str(text)


def _path(keys: Any) -> str:
    text = ""
    for key in keys:
        text = f"{text}[{key}]" if isinstance(key, int) else checks.path(text, key)
    return text
