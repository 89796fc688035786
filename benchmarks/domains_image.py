"""Images: is the pair of segments found on whose joint presence a network's answer depends? And real digits.

Generated pictures hold a red disc, a blue cross, both or neither, and two green squares that mean nothing, on a noisy
ground; the label is whether disc and cross are both there or both missing, which no sum of parts can tell. A small
convolutional network learns it. In pictures with both, the planted pair is the segment that covers most of the disc and
the one that covers most of the cross.

The real set is scikit-learn's handwritten digits, 8 x 8 pixels, cut into squares; nothing is planted in it, and the
question is how much better a linear explainer gets by the interactions found.

Run: python -m benchmarks.domains_image
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import write
from benchmarks.domains_common import DETECTORS, explain_all, first_is, head, quality, row
from nid_plugins.domains.drawing import drawn
from nid_plugins.domains.segmenting import segment

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SIDE = 40
RADIUS = 4
GROUND = 150


def picture(rng: np.random.Generator, disc: bool, cross: bool) -> tuple[Any, dict[str, Any]]:
    """Return a picture (SIDE, SIDE, 3) of bytes and where its parts are: name to mask (SIDE, SIDE)."""
    image = np.full((SIDE, SIDE, 3), float(GROUND))
    names = [name for name, there in (("disc", disc), ("cross", cross)) if there]
    names += ["square", "square"]
    cells = rng.choice(16, len(names), replace=False)
    parts = {}
    y, x = np.mgrid[:SIDE, :SIDE]
    for name, cell in zip(names, cells, strict=True):
        cy, cx = np.array([5 + 10 * (cell // 4), 5 + 10 * (cell % 4)]) + rng.integers(-1, 1, 2)
        dy, dx = np.abs(y - cy), np.abs(x - cx)
        mask = {
            "disc": dy**2 + dx**2 <= RADIUS**2,
            "cross": (np.minimum(dy, dx) <= 1) & (np.maximum(dy, dx) <= RADIUS),
            "square": np.maximum(dy, dx) <= RADIUS - 1,
        }[name]
        image[mask] = {"disc": (210, 60, 50), "cross": (50, 80, 210), "square": (60, 160, 70)}[name]
        parts.setdefault(name, mask)
    image += rng.normal(0, 12, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), parts


class Convolutional(nn.Module):
    """Two or three layers of filters, the largest answer of each filter, and two linear layers."""

    def __init__(self, channels: int, classes: int, *, pool: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, stride=2 if pool else 1), nn.ReLU()]
        if pool:
            layers += [nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1)]
        else:
            layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.filters = nn.Sequential(*layers, nn.Flatten())
        self.out = nn.Sequential(nn.Linear(32 if pool else 512, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes) of images (n, channels, height, width)."""
        logits: torch.Tensor = self.out(self.filters(x))
        return logits


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    """Fit a classifier."""
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            loss(model(x[part]), y[part]).backward()
            optimiser.step()
    model.eval()


def asked(model: nn.Module) -> Any:
    """Return the model as a function from images (n, height, width, channels) to logits."""

    def logits(images: Any) -> Any:
        x = torch.tensor(np.asarray(images, dtype=np.float32))
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        with torch.no_grad():
            return model(x / (255.0 if images.dtype == np.uint8 else 16.0)).numpy()

    return logits


def two_parts(count: int = 100) -> dict[str, Any]:
    """Return what is found in pictures that hold both parts, for several segmentations and detectors."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    kinds = [(a, b) for a in (False, True) for b in (False, True)]
    made = [picture(rng, *kinds[k % 4]) for k in range(3000)]
    images = np.array([image for image, _ in made])
    labels = torch.tensor([int(k % 4 in {0, 3}) for k in range(3000)])
    model = Convolutional(3, 2, pool=True)
    train(model, torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2) / 255.0, labels, epochs=12)
    logits = asked(model)
    fresh = [picture(rng, *kinds[k % 4]) for k in range(800)]
    right = (
        logits(np.array([image for image, _ in fresh])).argmax(1) == np.isin(np.arange(800) % 4, (0, 3))
    ).mean()
    both = fresh[3::4][:count]
    rows = []
    for cut, off, detector in (
        *(("slic", GROUND, detector) for detector in DETECTORS),
        ("slic", "blur", DETECTORS[0]),
        ("slic", "mean", DETECTORS[0]),
        ("grid", "mean", DETECTORS[0]),
    ):
        segments = [segment(image, cut, 64 if cut == "slic" else 16) for image, _ in both]
        truth = [
            {int(np.bincount(cells[parts[name]]).argmax()) for name in ("disc", "cross")}
            for cells, (_, parts) in zip(segments, both, strict=True)
        ]
        found, seconds = explain_all(
            logits,
            [image for image, _ in both],
            [{"segments": cells} for cells in segments],
            domain="image",
            output="logit",
            target=1,
            off=off,
            detector=detector,
            perturbations=2000,
        )
        share = [_share(cells, parts) for cells, (_, parts) in zip(segments, both, strict=True)]
        rows.append(
            {
                "segments": cut,
                "off": "ground" if off == GROUND else off,
                "detector": detector,
                "features": float(np.mean([cells.max() + 1 for cells in segments])),
                "covered": float(np.mean(share)),
                **first_is(found, truth),
                **quality(found),
                "seconds": seconds,
            }
        )
        print(rows[-1])
        if (cut, off, detector) == ("slic", GROUND, DETECTORS[0]):
            firsts = [set(one.interactions[0].positions) if one.interactions else set() for one in found]
            hits = [k for k, members in enumerate(firsts) if members == truth[k]]
            figure("domains_image", [(found[k], members) for k in hits[:1] for members in ((), firsts[k])])
    return {"accuracy": float(right), "rows": rows}


def _share(cells: Any, parts: dict[str, Any]) -> float:
    """Return how much of the two parts their best segments cover."""
    shares = [np.bincount(cells[parts[name]]).max() / parts[name].sum() for name in ("disc", "cross")]
    return float(np.mean(shares))


def figure(name: str, panels: list[tuple[Any, Any]]) -> None:
    """Write pictures side by side as one SVG."""
    width, gap = 360, 20
    height = max(width * one.shown["height"] / one.shown["width"] for one, _ in panels)
    inner = [
        f'<g transform="translate({k * (width + gap)} 0)">{drawn(one, members)}</g>'
        for k, (one, members) in enumerate(panels)
    ]
    total = len(panels) * (width + gap) - gap
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height:g}" width="{total}" height="{height:g}">'
        + "".join(inner)
        + "</svg>\n",
        encoding="utf-8",
    )


def digits(count: int = 120) -> dict[str, Any]:
    """Return how well digits the network has not seen are explained with and without interactions."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images, labels = data.images[order].astype(np.float32), data.target[order]
    model = Convolutional(1, 10, pool=False)
    train(model, torch.tensor(images[:1300, None] / 16.0), torch.tensor(labels[:1300]), epochs=15)
    logits = asked(model)
    right = (logits(images[1300:]).argmax(1) == labels[1300:]).mean()
    rows = []
    for off in ("mean", 0.0):
        found, seconds = explain_all(
            logits,
            list(images[1300 : 1300 + count]),
            [{}] * count,
            domain="image",
            segments="grid",
            count=16,
            off=off,
            output="logit",
            perturbations=3000,
        )
        rows.append({"off": "mean" if off == "mean" else "black", **quality(found), "seconds": seconds})
        print(rows[-1])
    some = sorted(
        range(count), key=lambda k: -found[k].interactions[0].gain if found[k].interactions else 0.0
    )[:3]
    figure("domains_digits", [(found[k], found[k].interactions[0].positions) for k in some])
    return {"accuracy": float(right), "rows": rows}


def main() -> None:
    """Run it and write the result and the figures."""
    torch.set_num_threads(1)
    write("domains_image", {"two_parts": two_parts(), "digits": digits()})


def table(result: dict[str, Any]) -> str:
    """Return the table of generated pictures."""
    lines = head(
        "segments, off, detector",
        "features",
        "planted pair first",
        "found at all",
        "pictures",
        "R\u00b2 linear",
        "R\u00b2 with interactions",
    )
    for one in result["two_parts"]["rows"]:
        lines.append(
            row(
                (
                    f"{one['segments']}, {one['off']}, `{one['detector']}`",
                    f"{one['features']:.0f}",
                    f"{one['first']:.1%}",
                    f"{one['found']:.1%}",
                    one["instances"],
                    f"{one['r2_linear']:.3f}",
                    f"{one['r2']:.3f}",
                )
            )
        )
    return "\n".join(lines)


def digits_table(result: dict[str, Any]) -> str:
    """Return the table of digits."""
    lines = head("an off square is", "digits", "interactions", "R\u00b2 linear", "R\u00b2 with interactions")
    for one in result["digits"]["rows"]:
        name = "its mean grey" if one["off"] == "mean" else one["off"]
        numbers = (
            one["instances"],
            f"{one['interactions']:.1f}",
            f"{one['r2_linear']:.3f}",
            f"{one['r2']:.3f}",
        )
        lines.append(row((name, *numbers)))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
