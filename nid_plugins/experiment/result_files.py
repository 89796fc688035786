"""Results of experiments as JSON with a schema version; see :mod:`nid_plugins.experiment.results`."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nid_plugins.errors import ArtefactError, NidError

if TYPE_CHECKING:
    from nid_plugins.experiment.results import AAResult, Analysis

T = TypeVar("T")


def content(result: Any) -> dict[str, Any]:
    """Return the fields of a result JSON-ready."""
    return {f.name: _out(getattr(result, f.name)) for f in dataclasses.fields(result)}


def analysis_of(spec: Mapping[str, Any]) -> Analysis:
    """Return the analysis a file holds.

    Raises:
        ArtefactError: It is damaged.
    """
    from nid_plugins.experiment import results

    analysis = _made(results.Analysis, spec, vars(results))
    _one_of(analysis.decision, results.DECISIONS, "decision")
    for verdict in analysis.guardrails:
        _one_of(verdict.status, results.STATUSES, "guardrails.status")
    for effect in (*analysis.effects, *analysis.sequential):
        _one_of(effect.role, results.ROLES, "effects.role")
    return analysis


def aa_result_of(spec: Mapping[str, Any]) -> AAResult:
    """Return the A/A result a file holds.

    Raises:
        ArtefactError: It is damaged.
    """
    from nid_plugins.experiment import results

    return _made(results.AAResult, spec, vars(results))


def _one_of(value: str, options: tuple[str, ...], name: str) -> None:
    if value not in options:
        raise ArtefactError(
            "the result is damaged", field=name, received=repr(value), expected=f"one of {options}"
        )


def _out(value: Any) -> Any:  # noqa: PLR0911 - one case a line
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "to_dict"):  # the design, which knows its own file
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {f.name: _out(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _out(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_out(item) for item in value]
    return value


def _made(cls: type[T], spec: Mapping[str, Any], names: Mapping[str, Any]) -> T:
    body = {key: value for key, value in spec.items() if key not in {"format", "schema_version"}}
    result: T = _read(cls, body, dict(names), "")
    return result


def _read(annotation: Any, value: Any, names: dict[str, Any], path: str) -> Any:  # noqa: PLR0911 - one case a line
    """Return a JSON value as what a field's annotation says."""
    if annotation is float:
        return _number(value, path)
    if annotation in {str, int, bool}:
        if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
            raise _damaged(path, value, annotation.__name__)
        return value
    if annotation is datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise _damaged(path, value, "a time in ISO 8601") from None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {types.UnionType, typing.Union}:  # of one type and None
        return None if value is None else _read(arguments[0], value, names, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _damaged(path, value, "a list")
        return tuple(_read(arguments[0], item, names, f"{path}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        raise _damaged(path, value, "an object")
    if origin is not None:  # a mapping of names to values
        return {str(key): _read(arguments[1], item, names, f"{path}.{key}") for key, item in value.items()}
    if hasattr(annotation, "from_dict") and path:
        try:
            return annotation.from_dict(value)
        except NidError as error:
            raise ArtefactError(f"the result is damaged: {error}", field=path) from error
    return _read_class(annotation, value, names, path)


def _read_class(cls: Any, value: Mapping[str, Any], names: dict[str, Any], path: str) -> Any:
    from nid_plugins.experiment.design import Design

    hints = typing.get_type_hints(cls, {**names, "Mapping": Mapping, "datetime": datetime, "Design": Design})
    known = [f.name for f in dataclasses.fields(cls)]
    for name in known:
        if name not in value:
            raise _damaged(f"{path}.{name}".lstrip("."), "nothing", "a value")
    for name in value:
        if name not in known:
            raise _damaged(f"{path}.{name}".lstrip("."), value[name], "no such key")
    return cls(
        **{name: _read(hints[name], value[name], names, f"{path}.{name}".lstrip(".")) for name in known}
    )


def _number(value: Any, path: str) -> float:
    if value is None:
        return math.nan
    if value in {"inf", "-inf"}:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _damaged(path, value, 'a number, null, "inf" or "-inf"')
    return float(value)


def _damaged(path: str, value: object, expected: str) -> ArtefactError:
    return ArtefactError(
        "the result is damaged", field=path or "top", received=repr(value)[:200], expected=expected
    )
