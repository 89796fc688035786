"""DNA: is a motif of six letters found as one set?

Sequences of 36 letters; half hold the motif CACGTG at some place, the others do not: half of these are drawn at random and
half hold it with one or two letters changed. The label is whether the motif is there. A convolutional network of the
kind the paper's has learns it. A sequence counts as a hit where the first set found is exactly the six letters.

Run: python -m benchmarks.domains_dna
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import write
from benchmarks.domains_common import DETECTORS, explain_all, first_is, head, quality, row

MOTIF = "CACGTG"
LENGTH = 36
LETTERS = "ACGT"


def sequence(rng: np.random.Generator, kind: int) -> tuple[str, int]:
    """Return a sequence and where its motif is: of kind 0 with the motif, 1 with a changed one, 2 without."""
    while True:
        letters = rng.choice(list(LETTERS), LENGTH)
        place = int(rng.integers(0, LENGTH - len(MOTIF) + 1))
        if kind < 2:
            letters[place : place + len(MOTIF)] = list(MOTIF)
        if kind == 1:
            for at in rng.choice(len(MOTIF), int(rng.integers(1, 3)), replace=False):
                letters[place + at] = rng.choice([one for one in LETTERS if one != MOTIF[at]])
        text = "".join(letters)
        if text.count(MOTIF) == (kind == 0):
            return text, place


def encoded(texts: list[str]) -> torch.Tensor:
    """Return one-hot letters (n, 4, length); any other symbol is all zero."""
    codes = np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)
    return torch.tensor(np.stack([codes == ord(one) for one in LETTERS], axis=1).astype(np.float32))


class Convolutional(nn.Module):
    """Two layers of 64 filters over five letters, the largest answer of each, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, 64, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(64, 64, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n,)."""
        logits: torch.Tensor = self.layers(x)[:, 0]
        return logits


def train(texts: list[str], labels: torch.Tensor, epochs: int) -> nn.Module:
    """Return a fitted network."""
    model, x = Convolutional(), encoded(texts)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            loss(model(x[part]), labels[part]).backward()
            optimiser.step()
    return model.eval()


def main(count: int = 100) -> None:
    """Run it and write the result."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    kinds = [0, 1, 0, 2]
    texts = [sequence(rng, kinds[k % 4])[0] for k in range(12000)]
    model = train(texts, torch.tensor([float(k % 2 == 0) for k in range(12000)]), epochs=10)

    def logits(sequences: list[str]) -> Any:
        with torch.no_grad():
            return model(encoded(sequences)).numpy()

    fresh = [sequence(rng, kinds[k % 4]) for k in range(2000)]
    right = float(((logits([text for text, _ in fresh]) > 0) == (np.arange(2000) % 2 == 0)).mean())
    chosen = fresh[::2][:count]
    instances = [text for text, _ in chosen]
    truth = [set(range(place, place + len(MOTIF))) for _, place in chosen]
    background = "".join(rng.choice(list(LETTERS), LENGTH))
    ways: list[tuple[str, str, dict[str, Any]]] = [
        *((detector, "random", {"off": "random"}) for detector in DETECTORS),
        (DETECTORS[0], "neutral", {"off": "neutral"}),
        (DETECTORS[0], "background", {"background": background}),
        ("nid", "random", {"off": "random", "prune": "paper"}),
    ]
    rows = []
    for detector, off, more in ways:
        found, seconds = explain_all(
            logits, instances, [{}] * count, domain="sequence", output="logit", detector=detector, **more
        )
        rows.append(
            {
                "detector": detector,
                "off": off,
                "prune": more.get("prune", "gain"),
                **first_is(found, truth),
                "within": float(
                    np.mean(
                        [
                            bool(one.interactions) and _within(one, motif)
                            for one, motif in zip(found, truth, strict=True)
                        ]
                    )
                ),
                **quality(found),
                "seconds": seconds,
            }
        )
        print(rows[-1])
    write("domains_dna", {"accuracy": right, "motif": MOTIF, "rows": rows})


def _within(one: Any, motif: set[int]) -> bool:
    """Return whether all letters of the first set are of the motif."""
    return set(one.interactions[0].positions) <= motif


def table(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = head(
        "detector, prune",
        "an off letter is",
        "motif is the first set",
        "first set inside the motif",
        "sequences",
        "R\u00b2 linear",
        "R\u00b2 with interactions",
    )
    names = {"random": "another letter", "neutral": "N", "background": "that of a random sequence"}
    for one in result["rows"]:
        lines.append(
            row(
                (
                    f"`{one['detector']}`, {one['prune']}",
                    names[one["off"]],
                    f"{one['first']:.1%}",
                    f"{one['within']:.1%}",
                    one["instances"],
                    f"{one['r2_linear']:.3f}",
                    f"{one['r2']:.3f}",
                )
            )
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
