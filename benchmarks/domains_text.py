"""Text: do negation pairs lead the ranking, on generated sentences and on snippets of real film reviews?

The generated sentences say of one or two things that they were good or bad, some with a negation, which turns the
adjective's meaning round. A small recurrent network learns the sentiment, a tenth of the words hidden in training. For
every sentence with one negation the planted pair is known: the negation and its adjective.

The real snippets are those a source distribution of the package vaderSentiment holds, with the mean rating people gave
them. A small convolutional network learns the sign of the rating.

Run: pip download vaderSentiment==3.3.2 --no-binary :all: --no-deps
     python -m benchmarks.domains_text --corpus vaderSentiment-3.3.2.tar.gz
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import write
from benchmarks.domains_common import DETECTORS, explain_all, first_is, head, quality, row
from nid_plugins.domains.text import WORD

GOOD = ["good", "great", "superb", "lovely", "charming", "clever", "moving", "fresh", "funny", "brilliant"]
BAD = ["bad", "dull", "awful", "boring", "clumsy", "weak", "tedious", "messy", "stale", "flat"]
NEGATIONS = ["not", "never", "hardly"]
THINGS = [
    "film",
    "acting",
    "plot",
    "movie",
    "music",
    "ending",
    "script",
    "dialogue",
    "pacing",
    "cast",
    "direction",
    "camera",
]
VERBS = ["was", "seemed", "felt", "looked"]
ADVERBS = ["really", "quite", "very", "rather"]
ASIDES = ("in the end", "for me", "on the whole", "last night", "to be honest", "as far as I could see")
LONGEST = 40


def sentence(rng: np.random.Generator) -> tuple[str, float, list[tuple[str, str]]]:
    """Return a sentence, its sentiment, and its pairs of negation and adjective."""
    clauses, score, pairs = [], 0.0, []
    used: set[str] = set()
    for _ in range(int(rng.integers(1, 3))):
        good = rng.random() < 0.5
        adjective = str(rng.choice([word for word in (GOOD if good else BAD) if word not in used]))
        used.add(adjective)
        words = ["the", str(rng.choice(THINGS)), str(rng.choice(VERBS))]
        negated = rng.random() < 0.4
        if negated:
            negation = str(rng.choice(NEGATIONS))
            words.append(negation)
            pairs.append((negation, adjective))
        if rng.random() < 0.4:
            words.append(str(rng.choice(ADVERBS)))
        words.append(adjective)
        score += (1.0 if good else -1.0) * (-1.0 if negated else 1.0)
        clauses.append(" ".join(words))
    text = " and ".join(clauses)
    if rng.random() < 0.5:
        text += ", " + str(rng.choice(ASIDES))
    return text, score + float(rng.normal(0, 0.3)), pairs


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return WORD.findall(text.lower())


class Vocabulary:
    """Words by number; 0 pads, 1 is any unknown word."""

    def __init__(self, texts: list[str], least: int) -> None:
        counts = Counter(word for text in texts for word in words_of(text))
        self.index = {word: k for k, word in enumerate((w for w, n in counts.items() if n >= least), 2)}

    def __len__(self) -> int:
        return len(self.index) + 2

    def ids(self, texts: list[str]) -> torch.Tensor:
        """Return the numbers of the words of each text, padded to one length."""
        rows = [[self.index.get(word, 1) for word in words_of(text)][:LONGEST] for text in texts]
        width = max(3, *map(len, rows))
        return torch.tensor([one + [0] * (width - len(one)) for one in rows])


class Recurrent(nn.Module):
    """Embeddings, a gated recurrent layer in both directions, and a linear layer on the means of its states."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 24, padding_idx=0)
        self.layer = nn.GRU(24, 24, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (n,)."""
        on = (ids > 0).float()[:, :, None]
        states = self.layer(self.embedding(ids))[0] * on
        logits: torch.Tensor = self.out(states.sum(1) / on.sum(1).clamp(min=1))[:, 0]
        return logits


class Convolutional(nn.Module):
    """Embeddings, filters over one to three words, the largest answer of each, and a linear layer."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 64, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(64, 64, width) for width in (1, 2, 3))
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(192, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (n,)."""
        x = self.drop(self.embedding(ids)).transpose(1, 2)
        top = torch.cat([layer(x).relu().amax(2) for layer in self.filters], dim=1)
        logits: torch.Tensor = self.out(self.drop(top))[:, 0]
        return logits


def train(
    model: nn.Module,
    ids: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    *,
    decay: float = 0.0,
    hidden: float = 0.0,
) -> None:
    """Fit a classifier; ``hidden`` is the share of words read as unknown."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=decay)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for part in torch.randperm(len(ids)).split(128):
            optimiser.zero_grad()
            some = torch.where((torch.rand(ids[part].shape) < hidden) & (ids[part] > 0), 1, ids[part])
            loss(model(some), labels[part]).backward()
            optimiser.step()
    model.eval()


def asked(model: nn.Module, vocabulary: Vocabulary) -> Any:
    """Return the model as a function from texts to logits."""

    def logits(texts: list[str]) -> Any:
        with torch.no_grad():
            return model(vocabulary.ids(texts)).numpy()

    return logits


def accuracy(model: Any, texts: list[str], labels: Any) -> float:
    """Return the share of texts whose sign is right."""
    return float(((model(texts) > 0) == (np.asarray(labels) > 0)).mean())


def planted(count: int = 150) -> dict[str, Any]:
    """Return what the detectors find on generated sentences with one negation."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    made = [sentence(rng) for _ in range(8000)]
    texts = [text for text, _, _ in made]
    labels = torch.tensor([float(score > 0) for _, score, _ in made])
    vocabulary = Vocabulary(texts, 1)
    model = Recurrent(len(vocabulary))
    train(model, vocabulary.ids(texts), labels, epochs=8, hidden=0.1)
    logits = asked(model, vocabulary)
    fresh = [sentence(rng) for _ in range(2000)]
    right = accuracy(logits, [text for text, _, _ in fresh], [score for _, score, _ in fresh])
    chosen = [(text, pairs[0]) for text, _, pairs in fresh if len(pairs) == 1][:count]
    truth = []
    for text, (negation, adjective) in chosen:
        words = words_of(text)
        truth.append({words.index(negation), words.index(adjective)})
    detectors = []
    for detector, mask in [*((name, None) for name in DETECTORS), (DETECTORS[0], "unknown")]:
        found, seconds = explain_all(
            logits,
            [text for text, _ in chosen],
            [{}] * len(chosen),
            domain="text",
            output="logit",
            detector=detector,
            mask=mask,
        )
        detectors.append(
            {
                "detector": detector,
                "mask": mask,
                **first_is(found, truth),
                **quality(found),
                "seconds": seconds,
            }
        )
    sample = found_sample(logits, chosen[0][0])
    return {"accuracy": right, "words": len(vocabulary), "detectors": detectors, "sample": sample}


def found_sample(logits: Any, text: str) -> dict[str, Any]:
    """Return one sentence with what is found in it."""
    (found,), _ = explain_all(logits, [text], [{}], domain="text", output="logit")
    return {
        "text": text,
        "interactions": [[str(one), one.effect, one.gain] for one in found.interactions[:3]],
    }


def snippets(corpus: Path) -> list[tuple[str, float]]:
    """Return the snippets of film reviews and their ratings from the package's source distribution."""
    with tarfile.open(corpus) as outer:
        (name,) = [name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz")]
        inner = outer.extractfile(name)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as resources:
            file = resources.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
            assert file is not None
            lines = file.read().decode("utf-8", "replace").splitlines()
    parts = [line.split("\t") for line in lines if line.count("\t") >= 2]
    return [(text.strip(), float(rating)) for _, rating, text in parts]


NEGATING = {
    "not",
    "no",
    "never",
    "nothing",
    "neither",
    "nor",
    "hardly",
    "without",
    "lacks",
    "isn't",
    "doesn't",
    "don't",
}


def real(corpus: Path, count: int = 150) -> dict[str, Any]:
    """Return what is found in real snippets, and whether negations lead where there are some."""
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    everything = [(text, rating) for text, rating in snippets(corpus) if 4 <= len(words_of(text)) <= LONGEST]
    everything = [everything[k] for k in rng.permutation(len(everything))]
    held, rest = everything[:1500], everything[1500:]
    vocabulary = Vocabulary([text for text, _ in rest], 2)
    model = Convolutional(len(vocabulary))
    labels = torch.tensor([float(rating > 0) for _, rating in rest])
    train(model, vocabulary.ids([text for text, _ in rest]), labels, epochs=6, decay=0.05)
    logits = asked(model, vocabulary)
    right = accuracy(logits, [text for text, _ in held], [rating for _, rating in held])
    negated = [text for text, _ in held if NEGATING & set(words_of(text))][:count]
    others = [text for text, _ in held if not NEGATING & set(words_of(text))][:count]
    settings = {"domain": "text", "output": "logit", "perturbations": 3000}
    with_negation, seconds = explain_all(logits, negated, [{}] * len(negated), **settings)
    without, _ = explain_all(logits, others, [{}] * len(others), **settings)
    lengths = np.array([len(one.labels) for one in with_negation])
    first = [
        bool(one.interactions) and bool(NEGATING & {w.lower() for w in one.interactions[0].labels})
        for one in with_negation
    ]
    # A pair drawn at random holds a given word of n with probability 2 / n.
    negations = np.array([sum(w.lower() in NEGATING for w in one.labels) for one in with_negation])
    chance = 1.0 - (lengths - negations) * (lengths - negations - 1) / (lengths * (lengths - 1))
    pairs = Counter(
        tuple(sorted(w.lower() for w in one.labels)) for found in (*with_negation, *without) for one in found
    )
    return {
        "snippets": len(everything),
        "accuracy": right,
        "majority": float(max(np.mean([r > 0 for _, r in held]), np.mean([r <= 0 for _, r in held]))),
        "with_negation": {
            **quality(with_negation),
            "first": float(np.mean(first)),
            "chance": float(chance.mean()),
        },
        "without_negation": quality(without),
        "seconds": seconds,
        "pairs": [[list(words), n] for words, n in pairs.most_common(12) if n > 1],
    }


def main() -> None:
    """Run it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, required=True, help="source distribution of vaderSentiment 3.3.2"
    )
    torch.set_num_threads(1)
    write("domains_text", {"planted": planted(), "real": real(parser.parse_args().corpus)})


def table(result: dict[str, Any]) -> str:
    """Return the table of generated sentences."""
    lines = head(
        "detector",
        "an off word is",
        "planted pair first",
        "found at all",
        "sentences",
        "R\u00b2 linear",
        "R\u00b2 with interactions",
    )
    for one in result["planted"]["detectors"]:
        lines.append(
            row(
                (
                    f"`{one['detector']}`",
                    "left out" if one["mask"] is None else "masked",
                    f"{one['first']:.1%}",
                    f"{one['found']:.1%}",
                    one["instances"],
                    f"{one['r2_linear']:.3f}",
                    f"{one['r2']:.3f}",
                )
            )
        )
    return "\n".join(lines)


def real_accuracy(result: dict[str, Any]) -> str:
    """Return how good the network of real snippets is."""
    one = result["real"]
    return (
        f"The network is right on {one['accuracy']:.1%} of the reviews it has not seen; always saying the more frequent "
        f"answer is right on {one['majority']:.1%}."
    )


def real_table(result: dict[str, Any]) -> str:
    """Return the table of real snippets."""
    lines = head(
        "snippets",
        "number",
        "negation in the first set",
        "by chance",
        "R\u00b2 linear",
        "R\u00b2 with interactions",
    )
    for name, key in (("with a negation", "with_negation"), ("without", "without_negation")):
        one = result["real"][key]
        first = [f"{one[k]:.1%}" if k in one else "\u2013" for k in ("first", "chance")]
        lines.append(row((name, one["instances"], *first, f"{one['r2_linear']:.3f}", f"{one['r2']:.3f}")))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
