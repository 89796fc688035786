"""The figure of the monitor benchmark: planted pairs in the top 10 and validation AUC, epoch by epoch, as plain SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "callbacks_monitor.svg"
WIDTH, HEIGHT = 640, 420
LEFT, RIGHT = 56, 620
PANELS = ((40, 200), (250, 380))
"""Top and bottom of the two panels."""
STYLE = """
  text { font: 12px sans-serif; fill: #24292f }
  .axis { stroke: #8c959f; stroke-width: 1; fill: none }
  .grid { stroke: #8c959f; stroke-opacity: .3; stroke-width: 1 }
  .mean { fill: none; stroke-width: 2.5 }
  .one { fill: none; stroke-width: 1; stroke-opacity: .3 }
  .m0 { stroke: #0969da } .m1 { stroke: #bc4c00 }
  text.m0 { fill: #0969da; stroke: none } text.m1 { fill: #bc4c00; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .m0 { stroke: #58a6ff } .m1 { stroke: #f0883e }
    text.m0 { fill: #58a6ff } text.m1 { fill: #f0883e }
  }
"""


class Panel:
    """A coordinate system: epochs across, a quantity upwards.

    Args:
        epochs: The last epoch.
        low: Value at the bottom.
        high: Value at the top.
        place: Top and bottom on the page.
    """

    def __init__(self, epochs: int, low: float, high: float, place: tuple[int, int]) -> None:
        self._epochs, self._low, self._high = epochs, low, high
        self._top, self._bottom = place

    def x(self, epoch: float) -> float:
        """Return the place of an epoch, the first being 1."""
        return LEFT + (RIGHT - LEFT) * (epoch - 1) / max(self._epochs - 1, 1)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        return self._bottom - (self._bottom - self._top) * (value - self._low) / (self._high - self._low)

    def line(self, values: Sequence[float], style: str) -> str:
        """Return a line through one value an epoch."""
        points = " ".join(f"{self.x(i + 1):.1f},{self.y(v):.1f}" for i, v in enumerate(values))
        return f'<polyline class="{style}" points="{points}"/>'

    def frame(self, ticks: Sequence[float], digits: int) -> list[str]:
        """Return the axes, and a grid at values."""
        out = []
        for value in ticks:
            y = self.y(value)
            out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>')
            out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.{digits}f}</text>')
        out.append(f'<path class="axis" d="M{LEFT} {self._top}V{self._bottom}H{RIGHT}"/>')
        for epoch in [1, *range(5, self._epochs + 1, 5)]:
            place = f'x="{self.x(epoch):.1f}" y="{self._bottom + 16}"'
            out.append(f'<text {place} text-anchor="middle">{epoch}</text>')
        return out


def draw(result: dict[str, Any]) -> str:
    """Return the figure: thin lines are single logs, thick ones their mean."""
    runs = result["rise"]
    names = list(dict.fromkeys(r["model"] for r in runs))
    seeds = list(dict.fromkeys(r["seed"] for r in runs))
    epochs = max(r["epoch"] for r in runs)

    def curves(name: str, value: Any) -> list[list[float]]:
        own = sorted((r for r in runs if r["model"] == name), key=lambda r: r["epoch"])
        return [[value(r) for r in own if r["seed"] == seed] for seed in seeds]

    best = max(r["auc"] for r in runs)
    low, high = np.floor(20 * min(r["auc"] for r in runs)) / 20, np.ceil(20 * best) / 20
    recall = Panel(epochs, 0.0, 1.0, PANELS[0])
    quality = Panel(epochs, float(low), float(high), PANELS[1])
    ticks = [round(float(tick), 2) for tick in np.arange(low, high + 0.01, 0.05)]
    body = [
        f'<text x="{LEFT}" y="24">Share of the planted pairs in the top 10</text>',
        *recall.frame((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 1),
        f'<text x="{LEFT}" y="{PANELS[1][0] - 12}">Validation AUC</text>',
        *quality.frame(ticks, 2),
        f'<text x="{(LEFT + RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">epoch</text>',
    ]
    for place, name in enumerate(names):
        for panel, value in ((recall, lambda r: r["recall"][1]), (quality, lambda r: r["auc"])):
            found = curves(name, value)
            body += [panel.line(curve, f"one m{place}") for curve in found]
            body.append(panel.line(np.mean(found, axis=0).tolist(), f"mean m{place}"))
        body.append(f'<text class="m{place}" x="{RIGHT - 110 + 60 * place}" y="24">{name}</text>')
    inside = "\n".join(body)
    label = "Planted pairs in the top 10 and validation AUC by epoch of training"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n'
        f"<title>{label}</title>\n<style>{STYLE}</style>\n{inside}\n</svg>\n"
    )
