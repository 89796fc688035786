"""What the tests of domains share: small models with known interactions."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def sentiment():
    """Logits of texts: good and bad add, a negation before either turns its meaning round."""

    def logits(texts):
        out = []
        for text in texts:
            words = set(text.lower().replace(",", " ").replace(".", " ").split())
            value = 2.0 * ("good" in words) + 0.5 * ("film" in words) - 0.3 * ("not" in words)
            out.append(value - 4.0 * ({"not", "good"} <= words))
        return np.array(out)

    return logits


@pytest.fixture
def quick():
    """Settings of an explanation that takes a few hundredths of a second."""
    return {"perturbations": 400}
