"""Which fields a model makes interact, as pictures: a map of field by field, and a graph.

Both are inline SVG and say in words what they show. A page lets their reader scroll where they are wide.
"""

from __future__ import annotations

import html
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.report.charts import Drawing
from nid_plugins.report.values import clean, show

if TYPE_CHECKING:
    from nid_plugins.report.report import InteractionReport

Floats = npt.NDArray[np.float64]

FIELDS = 60
"""Most fields a picture holds; of more, those that interact most."""
SAID = 10
"""Pairs a description names."""
CELL = 18
LETTERS = 18
RADIUS = 150


@dataclass(frozen=True)
class Wide(Drawing):
    """A drawing in its own size, which a page lets scroll in a narrow window."""

    template: ClassVar[str] = "wide.html"
    width: int = 380
    height: int = 380


class Svg(str):
    """Text of a picture, in which all that comes from data has been escaped: pages take it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def pair_strengths(report: InteractionReport) -> Floats:
    """Return the strength of every pair of fields, shape (p, p), symmetric, 0 on the diagonal and where unknown.

    A report without strengths of pairs gives each pair that of the strongest reported set that holds both fields.
    """
    if report.pair_strengths is not None:
        found = np.nan_to_num(report.pair_strengths, nan=0.0, posinf=0.0, neginf=0.0)
        np.fill_diagonal(found, 0.0)
        return found
    found = np.zeros((len(report.schema), len(report.schema)))
    for one in report.interactions:
        places = [report.schema.index_of(name) for name in one.fields]
        strength = 0.0 if math.isnan(one.strength) else one.strength
        for i, j in itertools.combinations(places, 2):
            found[i, j] = found[j, i] = max(found[i, j], strength)
    return found


def heat_map(report: InteractionReport) -> Wide | None:
    """Return the map of field by field, in the schema's order; None where no pair has a strength."""
    strengths = pair_strengths(report)
    most = float(strengths.max(initial=0.0))
    if most <= 0:
        return None
    kept = _busiest(strengths)
    names = [report.schema.names[i] for i in kept]
    left = 8 + 7 * max(min(len(name), LETTERS) for name in names)
    width, height = left + CELL * len(kept) + 7 * LETTERS, CELL * len(kept) + 12
    parts = []
    for row, i in enumerate(kept):
        y = 6 + CELL * row
        parts.append(
            _fill(
                '<text class="quiet" x="{}" y="{}" text-anchor="end">{}</text>',
                left - 6,
                y + 13,
                _short(names[row]),
            )
        )
        for column in range(row):
            value = float(strengths[i, kept[column]])
            if value > 0:
                parts.append(
                    _fill(
                        '<rect class="fill" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.2f}">'
                        "<title>{} x {}: {}</title></rect>",
                        left + CELL * column,
                        y,
                        CELL - 1,
                        CELL - 1,
                        0.06 + 0.94 * value / most,
                        clean(names[column]),
                        clean(names[row]),
                        show(value, ".4g"),
                    )
                )
        # The name of a column stands above it, on the diagonal: the upper half would say the same again.
        parts.append(
            _fill(
                '<text class="quiet" x="{}" y="{}">{}</text>',
                left + CELL * row + 4,
                y + 13,
                _short(names[row]),
            )
        )
    return Wide(
        "Strength of every pair of fields",
        Svg("".join(parts)),
        _pairs_in_words(report, strengths),
        _shown_of(kept, report)
        + "The fuller the colour, the stronger the pair. A name on the diagonal is that of the column below it.",
        width=width,
        height=height,
    )


def graph(report: InteractionReport) -> Wide | None:
    """Return the reported interactions as lines between fields on a circle; None where there are none.

    A set of three or more fields joins each two of them. Neighbours on the circle are fields that interact most.
    """
    links: dict[tuple[int, int], float] = {}
    for one in report.interactions:
        for pair in itertools.combinations(sorted(map(report.schema.index_of, one.fields)), 2):
            links[pair] = max(links.get(pair, 0.0), 0.0 if math.isnan(one.share) else one.share)
    if not links:
        return None
    shares = np.zeros((len(report.schema), len(report.schema)))
    for (i, j), share in links.items():
        shares[i, j] = shares[j, i] = max(share, 1e-9)
    kept = [i for i in _busiest(shares) if shares[i].any()]
    order = _ring(shares, kept)
    centre_x, centre_y = RADIUS + 150, RADIUS + 150
    angles = [2 * math.pi * k / len(order) - math.pi / 2 for k in range(len(order))]
    place = {
        i: (centre_x + RADIUS * math.cos(a), centre_y + RADIUS * math.sin(a))
        for i, a in zip(order, angles, strict=True)
    }
    names = report.schema.names
    parts = []
    for (i, j), share in sorted(links.items(), key=lambda link: link[1]):
        if i in place and j in place:
            parts.append(
                _fill(
                    '<path class="link" d="M{:.1f} {:.1f} Q{} {} {:.1f} {:.1f}" stroke-width="{:.1f}" '
                    'stroke-opacity="{:.2f}"><title>{} x {}: {}</title></path>',
                    *place[i],
                    *(centre_x, centre_y),
                    *place[j],
                    0.75 + 3 * share,
                    0.2 + 0.7 * share,
                    clean(names[i]),
                    clean(names[j]),
                    show(share, ".1%"),
                )
            )
    for i, angle in zip(order, angles, strict=True):
        x, y = place[i]
        degrees, left = math.degrees(angle), math.cos(angle) < -1e-9
        parts.append(
            _fill(
                '<circle class="fill" cx="{0:.1f}" cy="{1:.1f}" r="4"/>'
                '<text class="quiet" x="{0:.1f}" y="{1:.1f}" dx="{2}" dy="4" text-anchor="{3}" '
                'transform="rotate({4:.1f} {0:.1f} {1:.1f})">{5}<title>{6}</title></text>',
                x,
                y,
                -9 if left else 9,
                "end" if left else "start",
                degrees + 180 if left else degrees,
                _short(names[i]),
                clean(names[i]),
            )
        )
    size = 2 * (RADIUS + 150)
    return Wide(
        "Interactions between fields",
        Svg("".join(parts)),
        f"{len(links)} pairs of {len(kept)} fields. "
        + "; ".join(
            f"{clean(names[i])} x {clean(names[j])}: {show(share, '.1%')} of instances"
            for (i, j), share in sorted(links.items(), key=lambda link: (-link[1], link[0]))[:SAID]
        )
        + ".",
        _shown_of(kept, report, "that interact")
        + "The thicker a line, the larger the share of instances in which the two were found together.",
        width=size,
        height=size,
    )


def _busiest(weights: Floats) -> list[int]:
    """Return at most ``FIELDS`` fields, those of the largest total, ascending."""
    return sorted(np.argsort(-weights.sum(axis=1), kind="stable")[:FIELDS].tolist())


def _ring(weights: Floats, kept: list[int]) -> list[int]:
    """Return fields in the order of a walk: from the busiest, always to the one most linked with the last."""
    left = list(kept)
    ring = [max(left, key=lambda i: weights[i].sum())]
    left.remove(ring[0])
    while left:
        last = ring[-1]
        following = max(left, key=lambda i: (weights[last, i], weights[i].sum()))
        left.remove(following)
        ring.append(following)
    return ring


def _pairs_in_words(report: InteractionReport, strengths: Floats) -> str:
    rows, columns = np.triu_indices(len(strengths), 1)
    best = np.argsort(-strengths[rows, columns], kind="stable")[:SAID]
    names = report.schema.names
    said = [
        f"{clean(names[rows[k]])} x {clean(names[columns[k]])}: {show(float(strengths[rows[k], columns[k]]), '.4g')}"
        for k in best
        if strengths[rows[k], columns[k]] > 0
    ]
    return f"The strongest pairs of {len(names)} fields: " + "; ".join(said) + "."


def _shown_of(kept: list[int], report: InteractionReport, which: str = "") -> str:
    if len(kept) < FIELDS or len(report.schema) <= FIELDS:
        return ""
    return f"The {FIELDS} of {len(report.schema)} fields {which or 'that interact most'} are shown. "


def _short(name: str) -> str:
    text = clean(name)
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def _fill(template: str, *values: object) -> str:
    return template.format(*(html.escape(value) if isinstance(value, str) else value for value in values))
