"""What results have in common that can be looked at: a page, a file of it, a notebook's cell, a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from nid_plugins.report.page import Page


class Shown:
    """A result with a page. A class has only to say which, in :meth:`page`."""

    __slots__ = ()

    def page(self) -> Page:
        """Return the result as sections of tables, charts and words."""
        raise NotImplementedError

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the result as one HTML file that needs no network, or return its text where no file is named.

        Raises:
            ArtefactError: It cannot be written there.
            MissingExtraError: Jinja2 is not installed.
            SettingError: ``path`` is not a path.
        """
        page = self.page()
        if path is None:
            return page.html()
        page.save(path)
        return None

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows; None, so that it shows the plain text, where Jinja2 is absent."""
        from nid_plugins.errors import MissingExtraError

        try:
            return self.page()._repr_html_()
        except MissingExtraError:
            return None

    def __rich__(self) -> Any:
        return self.page()
