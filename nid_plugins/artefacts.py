"""Results kept as JSON files with a format and a schema version: written whole, read back or refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from nid_plugins.errors import ArtefactError
from nid_plugins.paths import as_path, write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Artefact:
    """A kind of result that is kept as a JSON file.

    Args:
        format: What its files say they are, e.g. ``"nid-plugins/model-comparison"``.
        version: The schema version that is written, and the newest that is read.
        name: What it is called in errors, e.g. ``"comparison"``.
        a: The name's article.
    """

    format: str
    version: int
    name: str
    a: str = "a"

    def stamped(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result's content with format and version before it."""
        return {"format": self.format, "schema_version": self.version, **body}

    def read(self, spec: Any, make: Callable[[Mapping[str, Any]], T], source: object = None) -> T:
        """Return the result made from what a file holds.

        Args:
            spec: The content of the file, format and version among it.
            make: Makes the result from it.
            source: The file, for errors.

        Raises:
            ArtefactError: It is of another format, of a newer version, or ``make`` cannot read it.
        """
        where = "" if source is None else f"{source}: "
        if not isinstance(spec, Mapping) or spec.get("format") != self.format:
            found = f"format {spec.get('format')!r}" if isinstance(spec, Mapping) else type(spec).__name__
            raise ArtefactError(
                f"not {self.a} {self.name}", received=where + found, expected=f'"format": "{self.format}"'
            )
        version = spec.get("schema_version")
        if not isinstance(version, int) or isinstance(version, bool) or version > self.version:
            raise ArtefactError(
                f"the {self.name} was written by a newer version of nid-plugins",
                received=f"{where}schema version {version}",
                expected=f"at most {self.version}",
                hint="Upgrade nid-plugins",
            )
        try:
            return make(spec)
        except ArtefactError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self._damaged(where + repr(error)) from error

    def save(self, spec: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
        """Write a result's content, whole or not at all.

        Raises:
            ArtefactError: It cannot be written there, or holds what JSON cannot.
            SettingError: ``path`` is not a path.
        """
        target = as_path(path, f"{self.a} {self.name} file")
        try:
            text = json.dumps(spec, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArtefactError(
                f"the {self.name} holds what JSON cannot: {error}",
                expected="settings and options that are finite numbers, text, lists or None",
            ) from error
        write_text(target, text + "\n", f"the {self.name}")

    def load(self, path: str | os.PathLike[str], make: Callable[[Mapping[str, Any]], T]) -> T:
        """Return the result made from a file that :meth:`save` wrote; see :meth:`read`.

        Raises:
            ArtefactError: The file is absent, damaged, something else, or from a newer version.
            SettingError: ``path`` is not a path.
        """
        source = as_path(path, f"{self.a} {self.name} file")
        try:
            spec = json.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise ArtefactError(f"the {self.name} cannot be read: {error}", received=str(source)) from error
        except ValueError as error:
            raise self._damaged(f"{source}: {error}") from error
        return self.read(spec, make, source)

    def _damaged(self, received: str) -> ArtefactError:
        return ArtefactError(
            f"the {self.name} is damaged",
            received=received,
            expected="JSON as it was saved",
            hint="Restore the file, or make it again",
        )


class Kept:
    """A result that is kept as a JSON file. A class says what its files are, what they hold, and how it is made from that."""

    __slots__ = ()

    artefact: ClassVar[Artefact]

    def _content(self) -> Mapping[str, Any]:
        raise NotImplementedError

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the result JSON-ready: NaN becomes null, an infinite number ``"inf"`` or ``"-inf"``, a time ISO 8601."""
        return self.artefact.stamped(self._content())

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Self:
        """Return the result that :meth:`to_dict` wrote.

        Raises:
            ArtefactError: It is something else, damaged, or from a newer version.
        """
        return cls.artefact.read(spec, cls._made)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON, whole or not at all.

        Raises:
            ArtefactError: It cannot be written there, or holds what JSON cannot.
            SettingError: ``path`` is not a path.
        """
        self.artefact.save(self.to_dict(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ArtefactError: The file is absent, damaged, something else, or from a newer version.
            SettingError: ``path`` is not a path.
        """
        return cls.artefact.load(path, cls._made)
