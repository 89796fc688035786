"""Every error this package raises on purpose.

All derive from :class:`NidError` and, where a built-in says the same thing, from that built-in too, so
``except ValueError`` in existing code keeps working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nid_plugins.experiment.answers import Answer
    from nid_plugins.report import InteractionReport


class NidError(Exception):
    """Base of all errors raised by nid-plugins.

    Args:
        problem: What is wrong, in one sentence.
        field: Name of the field concerned, when there is one.
        received: What was received.
        expected: What was expected.
        hint: What to do about it.

    Attributes:
        field: As given.
        received: As given.
        expected: As given.
        hint: As given.
    """

    def __init__(
        self,
        problem: str,
        *,
        field: str | None = None,
        received: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.field = field
        self.received = received
        self.expected = expected
        self.hint = hint
        parts = [f"field {field!r}: {problem}" if field is not None else problem]
        if received is not None:
            parts.append(f"received: {received}")
        if expected is not None:
            parts.append(f"expected: {expected}")
        if hint is not None:
            parts.append(hint)
        super().__init__("; ".join(part.rstrip(".;") for part in parts) + ".")

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call cls(message) and lose the keyword-only details on unpickling,
        # which is how joblib carries an error back from a worker process.
        return (_rebuild, (type(self), self.problem, self.__dict__.copy()))


def _rebuild(cls: type[NidError], problem: str, state: dict[str, Any]) -> NidError:
    details = {k: state.get(k) for k in ("field", "received", "expected", "hint")}
    error = cls(problem, **details)
    error.__dict__.update(state)
    return error


class SchemaError(NidError, ValueError):
    """A schema is inconsistent, or cannot be inferred or read off a model."""


class FrameError(NidError, ValueError):
    """A frame does not fit the schema: missing column, wrong dtype, id out of range, NaN, no rows."""


class SettingError(NidError, ValueError):
    """An option has a value outside its domain."""


class ModelError(NidError, RuntimeError):
    """The model raised, or its output has the wrong shape or is not finite.

    Attributes:
        partial: When raised by :func:`nid_plugins.detect`, the report of the instances finished before
            the failure (``None`` when there were none).
    """

    partial: InteractionReport | None = None


class UnansweredError(ModelError):
    """The control's model failed in a request, and for its rows there is nothing to fall back to.

    Attributes:
        answer: What could be answered: the predictions of the rows that could not are NaN. No exposure was logged.
    """

    answer: Answer | None = None


class UnsupportedError(NidError, TypeError):
    """No adapter claims the model, or its adapter cannot do what was asked."""


class ArtefactError(NidError, ValueError):
    """A saved file is damaged, incomplete, or was written by a newer version."""


class PluginError(NidError, RuntimeError):
    """A plug-in is broken: it failed to import, misspells a hook, or registers something unusable."""


class MissingExtraError(NidError, ImportError):
    """An optional dependency is not installed."""


class NidWarning(UserWarning):
    """Something is off but has a stated, sensible result."""
