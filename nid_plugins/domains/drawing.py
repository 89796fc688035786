"""Explanations shown on the instance itself: words marked in their text, segments in their picture, nodes in their graph."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt

    from nid_plugins.domains.explanation import LocalExplanation, LocalInteraction
    from nid_plugins.report.page import Page

SHOWN = 6
"""Interactions shown on the instance; the table has them all."""
COLOUR = "#0b5cad"
WIDTH = 360
"""Width of pictures and graphs, in the units of their SVG."""


def png(image: npt.NDArray[Any]) -> str:
    """Return an image (H, W, C) as a PNG in base64; one to four channels as they are meant, others as their mean.

    Pixels that are not bytes are stretched to black and white.
    """
    pixels = image if image.shape[2] <= 4 else image.mean(axis=2, keepdims=True)
    if pixels.dtype != np.uint8:
        floats = pixels.astype(np.float64)
        low, high = float(floats.min()), float(floats.max())
        pixels = np.rint((floats - low) * (255.0 / (high - low) if high > low else 0.0)).astype(np.uint8)
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return base64.b64encode(data).decode()


def drawn(explanation: LocalExplanation, members: Collection[int]) -> str:
    """Return HTML of the instance with some of its features marked; text in it is escaped."""
    shown = explanation.shown
    kind = shown.get("kind")
    if kind == "text":
        return _text(shown, members)
    if kind == "image":
        return _image(shown, members)
    if kind == "graph":
        return _graph(shown, explanation.labels, members)
    values = shown.get("values") or [""] * len(explanation.labels)
    parts = [
        _marked(f"{label} = {value}" if value else label, marked=j in members)
        for j, (label, value) in enumerate(zip(explanation.labels, values, strict=True))
    ]
    return f"<p>{', '.join(parts)}</p>"


def _marked(text: str, *, marked: bool) -> str:
    return f"<mark>{escape(text)}</mark>" if marked else escape(text)


def _text(shown: Mapping[str, Any], members: Collection[int]) -> str:
    words, gaps = shown["words"], shown["gaps"]
    parts = [
        escape(gap) + _marked(word, marked=j in members)
        for j, (gap, word) in enumerate(zip(gaps[:-1], words, strict=True))
    ]
    return f"<p>{''.join(parts)}{escape(gaps[-1])}</p>"


def _image(shown: Mapping[str, Any], members: Collection[int]) -> str:
    """Return the picture, everything but the members dimmed and their edges drawn."""
    height, width = int(shown["height"]), int(shown["width"])
    parts = np.repeat([k for k, _ in shown["runs"]], [n for _, n in shown["runs"]]).reshape(height, width)
    inside = np.isin(parts, list(members))
    scale = WIDTH / width
    size = f'width="{WIDTH}" height="{height * scale:g}"'
    svg = [
        f'<svg viewBox="0 0 {WIDTH} {height * scale:g}" width="{WIDTH}" xmlns="http://www.w3.org/2000/svg">',
        f'<image href="data:image/png;base64,{shown["png"]}" {size} image-rendering="pixelated"/>',
        f'<g transform="scale({scale:g})">',
    ]
    if members:
        svg.append(f'<path d="{_area(~inside)}" fill="#ffffff" fill-opacity="0.6"/>')
        edges = _edges(np.where(inside, parts, -1))
        svg += [
            f'<path d="{edges}" fill="none" stroke="{colour}" stroke-width="{wide / scale:g}"/>'
            for colour, wide in (("#ffffff", 5), (COLOUR, 2.5))
        ]
    else:
        svg.append(f'<path d="{_edges(parts)}" fill="none" stroke="{COLOUR}" stroke-width="{1 / scale:g}"/>')
    return "".join([*svg, "</g></svg>"])


def _area(inside: npt.NDArray[np.bool_]) -> str:
    """Return the path of the pixels that are true: one flat rectangle a run."""
    path = []
    for y, row in enumerate(inside):
        ends = np.flatnonzero(np.diff(np.r_[False, row, False]))
        path += [f"M{a} {y}h{b - a}v1h{a - b}z" for a, b in zip(ends[::2], ends[1::2], strict=True)]
    return "".join(path)


def _edges(parts: npt.NDArray[np.intp]) -> str:
    """Return the path of the sides between pixels of different parts, and of the rim where a part touches it."""
    framed = np.pad(parts, 1, constant_values=-1)
    path = [f"M{x} {y}h1" for y, x in np.argwhere(framed[:-1, 1:-1] != framed[1:, 1:-1])]
    path += [f"M{x} {y}v1" for y, x in np.argwhere(framed[1:-1, :-1] != framed[1:-1, 1:])]
    return "".join(path)


def _graph(shown: Mapping[str, Any], labels: tuple[str, ...], members: Collection[int]) -> str:
    """Return the neighbourhood with its node in the middle and a ring a hop."""
    hops, places = shown["hops"], {}
    middle, rings = WIDTH / 2, max(max(shown["hops"], default=0), 1)
    for hop in sorted(set(hops)):
        ring = [k for k, h in enumerate(hops) if h == hop]
        radius = 0.0 if hop == 0 and len(ring) == 1 else (middle - 40) * max(hop, 0.6) / rings
        for turn, k in enumerate(ring):
            angle = 2 * math.pi * turn / len(ring) + 0.4 * hop
            places[k] = (middle + radius * math.cos(angle), middle + radius * math.sin(angle))
    svg = [f'<svg viewBox="0 0 {WIDTH} {WIDTH}" width="{WIDTH}" xmlns="http://www.w3.org/2000/svg">']
    svg += [
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="#8b949e" stroke-width="1"/>'.format(
            *places[a], *places[b]
        )
        for a, b in shown["edges"]
    ]
    for k, (x, y) in places.items():
        marked = k in members
        svg.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9 if marked else 4}" fill="{COLOUR if marked else "#8b949e"}"/>'
        )
        if marked or len(places) <= 12:
            # A notebook may be dark; a page has colours of its own for text.
            svg.append(
                f'<text x="{x + 11:.1f}" y="{y + 5:.1f}" font-size="14" fill="currentColor">'
                f"{escape(labels[k])}</text>"
            )
    return "".join([*svg, "</svg>"])


def _title(rank: int, one: LocalInteraction) -> str:
    return f"{rank}. {one}: {one.effect:+.3f}"


def _fit(explanation: LocalExplanation) -> str:
    return (
        f"Class {explanation.target}, target {explanation.logit:+.3f}. Held-out R\u00b2 of a linear explainer "
        f"{explanation.r2_linear:.3f}, with the interactions {explanation.r2:.3f}."
    )


def _described(one: LocalInteraction) -> str:
    return f"The instance with {', '.join(map(str, one.fields))} marked."


def fragment(explanation: LocalExplanation) -> str:
    """Return HTML for a notebook: the strongest interactions shown on the instance.

    It has no styles, scripts or ids, so that it changes nothing around it, and takes the notebook's font and colours.
    """
    parts = [f"<p>{escape(_fit(explanation))}</p>"]
    for rank, one in enumerate(explanation.interactions[:SHOWN], 1):
        picture = _worded(explanation, drawn(explanation, one.positions), _described(one))
        parts.append(f"<p><b>{escape(_title(rank, one))}</b></p>{picture}")
    if not explanation.interactions:
        picture = _worded(explanation, drawn(explanation, ()), "The instance.")
        parts.append(f"<p>No interaction.</p>{picture}")
    return f"<div>{''.join(parts)}</div>"


def _worded(explanation: LocalExplanation, body: str, words: str) -> str:
    """Return a drawing with words for those who do not see it; text is read as it is."""
    if explanation.shown.get("kind") not in {"image", "graph"}:
        return body
    return f'<div role="img" aria-label="{escape(words)}">{body}</div>'


def page(explanation: LocalExplanation, title: str | None = None) -> Page:
    """Return a page: what was found, shown on the instance and in tables.

    Raises:
        MissingExtraError: Jinja2, which fills the page, is not installed.
    """
    from nid_plugins.errors import MissingExtraError

    try:
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtraError("pages need Jinja2", hint="pip install 'nid-plugins[ab]'") from error
    from nid_plugins.report.charts import Drawing
    from nid_plugins.report.content import Column, Facts, Section, Table, numbers
    from nid_plugins.report.page import Page

    drawings = [
        # Everything in it that comes from data went through escape, or is a number.
        Drawing(
            _title(rank, one),
            Markup(drawn(explanation, one.positions)),  # noqa: S704
            _described(one),
        )
        for rank, one in enumerate(explanation.interactions[:SHOWN], 1)
    ]
    table = Table(
        "Interactions",
        [
            numbers("Rank"),
            Column("Features"),
            Column("Positions"),
            numbers("Effect", "+.3f"),
            numbers("Gain of R\u00b2", ".4f"),
            numbers("Strength", ".4g"),
        ],
        [
            [rank, str(one), ", ".join(map(str, one.positions)), one.effect, one.gain, one.strength]
            for rank, one in enumerate(explanation, 1)
        ],
    )
    order = sorted(range(len(explanation.labels)), key=lambda j: -abs(explanation.effects[j]))
    effects = Table(
        "Main effects",
        [Column("Feature"), numbers("Position"), numbers("Effect", "+.3f")],
        [[explanation.labels[j], j, explanation.effects[j]] for j in order],
    )
    facts = Facts(
        "Settings",
        [("model queries", explanation.queries), ("answers clipped", explanation.clipped)]
        + [(name, str(value)) for name, value in explanation.settings.items()],
    )
    return Page(
        title or f"Explanation of {'an' if explanation.domain[:1] in 'aeiou' else 'a'} {explanation.domain}",
        [
            Section("On the instance", drawings, "" if drawings else "No interaction was found."),
            Section(
                "Interactions",
                [table],
                "Effects are in logits of the class, all members on against the rest.",
            ),
            Section("Main effects", [effects]),
            Section("Settings", [facts]),
        ],
        _fit(explanation),
        explanation.to_dict(),
    )
