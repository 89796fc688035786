"""What detectors and domains share: options that users name, and their values for the record."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from nid_plugins.errors import SettingError


class Configurable:
    """A thing with a name whose subclasses are frozen dataclasses where they take options.

    Attributes:
        name: What users write.
        kind: What sort of thing it is, for messages.
    """

    name: ClassVar[str]
    kind: ClassVar[str]

    def configured(self, **options: Any) -> Self:
        """Return a copy with other options.

        Raises:
            SettingError: There is no such option.
        """
        if not options:
            return self
        known: list[str] = (
            [f.name for f in dataclasses.fields(self)] if dataclasses.is_dataclass(self) else []
        )
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise SettingError(
                f"the {self.kind} {self.name!r} has no option {unknown[0]!r}",
                received=unknown,
                expected=f"some of {known}" if known else "no options",
            )
        return dataclasses.replace(self, **options)  # type: ignore[type-var]

    def options(self) -> dict[str, Any]:
        """Return the options in force, JSON-ready, for the report."""
        spec: dict[str, Any] = dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}
        # As they come back from JSON: a loaded report equals the one that was saved.
        return {name: list(value) if isinstance(value, tuple) else value for name, value in spec.items()}
