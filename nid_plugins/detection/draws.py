"""Masks drawn anew after so many instances, and what follows from each draw.

With one set of masks for all instances, the error that these masks bring is the same in all of them and does not average out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nid_plugins.detection.madex import Madex


class Draws:
    """Gives the MADEX with the masks of an instance; which these are depends on the settings and its index alone.

    Of those after the first one is held at a time, for instances come in order: one that is asked for again is made again.

    Args:
        first: The one with the first draw of masks.
    """

    def __init__(self, first: Madex) -> None:
        self._first = first
        self._latest = first

    def of(self, index: int) -> Madex:
        """Return the MADEX of an instance."""
        redraw = self._first.settings.redraw
        number = 0 if redraw is None else index // redraw
        if number == 0:
            return self._first
        if self._latest.draw != number:
            self._latest = self._first.redrawn(number)
        return self._latest
