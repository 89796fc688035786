"""The plan of an experiment as plain mappings, and back, with errors that name the path of the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.experiment import checks
from nid_plugins.experiment.metrics import Guardrail, Metric
from nid_plugins.experiment.sizes import Sizing
from nid_plugins.experiment.variants import Namespace, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.experiment.design import Design

VERSION = 1
"""Of the layout. A file with a higher one is refused: it may mean something this version would drop."""
REQUIRED = ("version", "name", "variants", "primary", "mde")

T = TypeVar("T")


def to_spec(design: Design) -> dict[str, Any]:
    """Return a plan as what JSON and YAML can hold. Options that are not in use are left out."""
    spec: dict[str, Any] = {
        "version": VERSION,
        "name": design.name,
        "notes": design.notes,
        "seed": design.seed,
        "unit": design.unit,
        "variants": [_used(variant) for variant in design.variants],
        "coverage": design.coverage,
        "namespace": None if design.namespace is None else _used(design.namespace),
        "primary": _used(design.primary),
        "mde": design.mde,
        "alpha": design.alpha,
        "power": design.power,
        "correction": design.correction,
        "guardrails": [
            {"metric": _used(one.metric), "worse": one.worse, "margin": one.margin}
            for one in design.guardrails
        ],
        "metrics": [_used(metric) for metric in design.metrics],
        "start": None if design.start is None else design.start.isoformat(),
        "stop": None if design.stop is None else design.stop.isoformat(),
        "artefacts": dict(design.artefacts),
        "sizing": None if design.sizing is None else design.sizing.to_dict(),
    }
    return {key: value for key, value in spec.items() if value is not None and value not in ("", [], {})}


def _used(part: Variant | Namespace | Metric) -> dict[str, Any]:
    given = {one.name: getattr(part, one.name) for one in fields(part)}
    return {name: value for name, value in given.items() if value is not None and value != ""}


def from_spec(spec: object) -> Design:
    """Return the plan that :func:`to_spec` wrote, or a person.

    Raises:
        SettingError: A key is unknown or missing, or a value out of its domain; the path of the key is named.
        ArtefactError: Written by a newer version.
    """
    from nid_plugins.experiment.design import Design

    top = _mapping(spec, "")
    check_version(top)
    keys = ("version", *(one.name for one in fields(Design)))
    checks.known_keys(top, "", keys, REQUIRED)
    given: dict[str, Any] = {key: value for key, value in top.items() if key != "version"}
    for name in ("namespace", "start", "stop", "sizing"):
        if name in given and given[name] is None:
            del given[name]
    makers: dict[str, Callable[[Any, str], Any]] = {
        "variants": lambda value, field: _each(value, field, _variant),
        "namespace": _namespace,
        "primary": _metric,
        "metrics": lambda value, field: _each(value, field, _metric),
        "guardrails": lambda value, field: _each(value, field, _guardrail),
        "start": _moment,
        "stop": _moment,
        "sizing": lambda value, field: _at(field, lambda: Sizing.from_dict(_mapping(value, ""))),
    }
    return Design(
        **{key: makers[key](value, key) if key in makers else value for key, value in given.items()}
    )


def check_version(spec: Mapping[str, Any]) -> None:
    """Check that the layout is one this version reads.

    Raises:
        SettingError: It is not a whole number from 1.
        ArtefactError: It is newer.
    """
    if "version" not in spec:
        raise SettingError("missing key", field="version", expected=f"a line version: {VERSION}")
    version = checks.whole(spec["version"], "version", f"version: {VERSION}", low=1)
    if version > VERSION:
        raise ArtefactError(
            "the design was written by a newer version of nid-plugins",
            field="version",
            received=version,
            expected=f"at most {VERSION}",
            hint="Upgrade nid-plugins",
        )


def _variant(value: object, field: str) -> Variant:
    return _made(Variant, value, field, ("name", "weight"))


def _namespace(value: object, field: str) -> Namespace:
    return _made(Namespace, value, field, ("name", "start", "stop"))


def _metric(value: object, field: str) -> Metric:
    return _made(Metric, value, field, ("name", "kind"))


def _guardrail(value: object, field: str) -> Guardrail:
    spec = _mapping(value, field)
    checks.known_keys(spec, field, ("metric", "worse", "margin"), ("metric", "worse", "margin"))
    metric = _metric(spec["metric"], f"{field}.metric")
    return _at(field, lambda: Guardrail(metric, spec["worse"], spec["margin"]))


def _made(kind: type[T], value: object, field: str, required: Sequence[str]) -> T:
    spec = _mapping(value, field)
    checks.known_keys(spec, field, [one.name for one in fields(kind)], required)  # type: ignore[arg-type]
    return _at(field, lambda: kind(**spec))


def _each(value: object, field: str, make: Callable[[object, str], T]) -> tuple[T, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise SettingError(
            "not a list", field=field, received=repr(value)[:200], expected="a list of mappings"
        )
    return tuple(make(item, f"{field}[{position}]") for position, item in enumerate(value))


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingError(
            "not a mapping of keys to values",
            field=field or None,
            received=repr(value)[:200],
            expected="lines of key: value",
        )
    return value


def _moment(value: object, field: str) -> datetime:
    expected = "an ISO 8601 date and time with its zone, such as 2030-01-31T00:00:00+00:00"
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise SettingError("not a moment", field=field, received=repr(value), expected=expected)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise SettingError("not a moment", field=field, received=repr(value), expected=expected) from None


def _at(field: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except SettingError as error:
        raise SettingError(
            error.problem,
            field=checks.path(field, error.field) if error.field else field,
            received=error.received,
            expected=error.expected,
            hint=error.hint,
        ) from None
