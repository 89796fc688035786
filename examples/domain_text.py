"""Which words does a sentiment classifier read together? A pipeline of scikit-learn's, explained sentence by sentence.

Run: python examples/domain_text.py
"""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import nid_plugins as nid

GOOD, BAD = ["good", "great", "funny", "clever"], ["bad", "dull", "boring", "clumsy"]
rng = np.random.default_rng(0)


def review() -> tuple[str, bool]:
    """Return a sentence and whether it praises."""
    good, negated = rng.random(2) < 0.5
    words = ["the", rng.choice(["film", "plot", "cast"]), rng.choice(["was", "seemed"])]
    words += ["not"] if negated else []
    words += [rng.choice(GOOD if good else BAD), rng.choice(["", "on the whole", "in the end"])]
    return " ".join(words), bool(good != negated)


texts, praise = zip(*(review() for _ in range(2000)), strict=True)
model = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10.0)).fit(texts, praise)

# The model has predict_proba, so nothing has to be said about its scores; any function from texts to scores would do.
for sentence in (
    "The plot was not good, on the whole.",
    "The cast seemed not dull.",
    "The film was great in the end.",
):
    found = nid.explain(model, sentence, domain="text", target=1, perturbations=2000)
    print(f"{sentence}  P(praise) = {found.score:.2f}")
    for interaction in found.interactions[:3]:
        print(f"  {interaction.effect:+.2f}  {interaction}  (positions {interaction.positions})")
    print(f"  R2 of a linear explainer {found.r2_linear:.2f}, with the interactions {found.r2:.2f}")

found.save("explanation.json")
found.to_html("explanation.html", title="A review explained")
