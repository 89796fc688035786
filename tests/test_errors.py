"""Errors say field, received, expected and what to do, survive pickling, and are also the built-in of their kind."""

from __future__ import annotations

import pickle

import pytest

from nid_plugins import errors
from nid_plugins.errors import NidError

TYPED = [
    (errors.SchemaError, ValueError),
    (errors.FrameError, ValueError),
    (errors.SettingError, ValueError),
    (errors.ModelError, RuntimeError),
    (errors.UnansweredError, RuntimeError),
    (errors.UnsupportedError, TypeError),
    (errors.ArtefactError, ValueError),
    (errors.PluginError, RuntimeError),
    (errors.MissingExtraError, ImportError),
]


def test_no_error_is_missing_from_this_test():
    defined = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, NidError)}
    assert defined == {NidError} | {kind for kind, _ in TYPED}


@pytest.mark.parametrize(("kind", "builtin"), TYPED)
def test_is_a_nid_error_and_the_builtin(kind, builtin):
    with pytest.raises(builtin) as caught:
        raise kind("it went wrong")
    assert isinstance(caught.value, NidError)
    assert str(caught.value) == "it went wrong."


def test_message_has_every_part_in_order():
    error = NidError(
        "too large", field="site", received=9, expected="0 .. 8", hint="Map it to the reserved id."
    )
    assert str(error) == "field 'site': too large; received: 9; expected: 0 .. 8; Map it to the reserved id."
    assert (error.field, error.received, error.expected) == ("site", 9, "0 .. 8")


def test_falsy_details_are_kept():
    assert (
        str(NidError("rows missing", received=0, expected=0.0)) == "rows missing; received: 0; expected: 0.0."
    )


@pytest.mark.parametrize(("kind", "builtin"), TYPED)
def test_pickle_keeps_type_message_and_details(kind, builtin):
    error = kind("wrong", field="f", received=[1], expected="x", hint="Do it")
    error.note = "added later"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert isinstance(copy, builtin)
    assert str(copy) == str(error)
    assert (copy.field, copy.received, copy.expected, copy.hint) == ("f", [1], "x", "Do it")
    assert copy.note == "added later"


def test_warning_is_a_user_warning():
    assert issubclass(errors.NidWarning, UserWarning)
