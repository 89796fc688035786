"""Asking callables: every form of scores means the same, and what is none is said."""

from __future__ import annotations

import random

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import NidWarning

SENTENCE = "a film that is not good"


def explain(model, **settings):
    return nid.explain(model, SENTENCE, domain="text", **{"perturbations": 300, **settings})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMS = {
    "logit (n,)": lambda z: z,
    "logit (n, 1)": lambda z: z[:, None],
    "logits of two": lambda z: np.stack([np.full(len(z), 7.0), z + 7.0], axis=1),
    "logits of three": lambda z: np.stack([z * 0 - np.log(2), z, z * 0 - np.log(2)], axis=1),
    "probability (n,)": sigmoid,
    "probabilities of two": lambda z: np.stack([1 - sigmoid(z), sigmoid(z)], axis=1),
    "float32": lambda z: z.astype(np.float32),
    "a list": lambda z: z.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_scores_are_explained_alike(sentiment, form):
    output = "probability" if form.startswith("prob") else "logit"
    found = explain(lambda texts: FORMS[form](sentiment(texts)), output=output, target=1)
    plain = explain(sentiment, output="logit", target=1)
    assert [one.positions for one in found] == [one.positions for one in plain]
    assert found.effects == pytest.approx(plain.effects, abs=1e-4)
    assert found.logit == pytest.approx(plain.logit, abs=1e-5)


def test_tensors_are_scores_too(sentiment):
    torch = pytest.importorskip("torch", reason="the scores are tensors")
    weight = torch.ones(1, requires_grad=True)
    found = explain(lambda texts: torch.tensor(sentiment(texts)) * weight, output="logit")
    assert found.interactions[0].labels == ("not", "good")


def test_the_predicted_class_is_explained_unless_one_is_chosen(sentiment):
    found, other = explain(sentiment, output="logit"), explain(sentiment, output="logit", target=1)
    assert (found.target, other.target) == (0, 1)
    assert found.logit == pytest.approx(-other.logit)
    assert found.interactions[0].effect == pytest.approx(-other.interactions[0].effect)
    three = explain(lambda texts: np.stack([sentiment(texts), sentiment(texts) * 0 + 9, sentiment(texts)], 1))
    assert three.target == 1
    assert three.score == 9.0


def test_probabilities_are_clipped_at_a_stated_place(sentiment):
    found = explain(
        lambda texts: (sentiment(texts) > 0).astype(float), output="probability", target=1, epsilon=1e-3
    )
    assert found.clipped == found.queries
    assert abs(found.logit) == pytest.approx(np.log(999))
    assert found.settings["epsilon"] == 1e-3


def test_infinite_logits_are_clipped_too(sentiment):
    found = explain(lambda texts: np.where(sentiment(texts) > 0, np.inf, -np.inf), output="logit", target=1)
    assert np.isfinite([found.logit, *found.effects]).all()


def test_scores_of_any_kind_are_taken_as_they_are(sentiment):
    found = explain(lambda texts: 1000.0 * sentiment(texts), output="score")
    assert found.target == 0
    assert found.interactions[0].effect == pytest.approx(-4000, rel=0.02)
    assert found.clipped == 0


def test_what_the_scores_are_is_told_by_their_values(sentiment):
    assert explain(sentiment).settings["output"] == "logit"
    two = explain(lambda texts: FORMS["probabilities of two"](sentiment(texts)))
    assert two.settings["output"] == "probability"
    with pytest.warns(NidWarning, match=r"all lie in \[0, 1\]"):
        assert explain(lambda texts: sigmoid(sentiment(texts))).settings["output"] == "probability"


def test_equal_masks_are_asked_for_once_and_batches_are_bounded(sentiment):
    sizes = []

    def counting(texts):
        sizes.append(len(texts))
        return sentiment(texts)

    found = explain(counting, output="logit", batch_size=10)
    assert max(sizes) == 10
    assert sum(sizes) == found.queries <= 2**6
    whole = explain(sentiment, output="logit")
    assert whole == found


def test_an_object_with_predict_proba_is_a_model(sentiment):
    class Classifier:
        def predict_proba(self, texts):
            return FORMS["probabilities of two"](sentiment(texts))

    assert explain(Classifier()).interactions[0].labels == ("not", "good")


def test_nobody_s_random_numbers_are_used(sentiment):
    torch = pytest.importorskip("torch", reason="its generator is looked at")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first, again = (explain(sentiment, output="logit", detector="nid") for _ in range(2))
    assert first == again
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


BAD = {
    "too few": (lambda texts: np.zeros(len(texts) - 1), "wrong shape"),
    "one number": (lambda texts: 0.5, "wrong shape"),
    "three axes": (lambda texts: np.zeros((len(texts), 2, 2)), "wrong shape"),
    "no columns": (lambda texts: np.zeros((len(texts), 0)), "wrong shape"),
    "NaN": (lambda texts: np.full(len(texts), np.nan), "returned NaN"),
    "words": (lambda texts: texts, "not numbers"),
    "None": (lambda texts: None, "wrong shape"),
    "raises": (lambda texts: 1 / 0, "raised ZeroDivisionError on instances 0"),
    "beyond one": (lambda texts: np.full(len(texts), 1.5), "not probabilities"),
    "below none": (lambda texts: np.full((len(texts), 2), -0.1), "not probabilities"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_scores(name):
    model, message = BAD[name]
    with pytest.raises(nid.ModelError, match=message):
        explain(model, output="probability")


def test_columns_must_not_change():
    model = lambda texts: np.zeros((len(texts), 2 if len(texts) == 7 else 3))  # noqa: E731
    with pytest.raises(nid.ModelError, match="number of classes changes"):
        explain(model, output="logit", batch_size=7)


def test_a_model_that_fails_on_nothing_is_told_so():
    with pytest.raises(nid.ModelError, match="every feature off is one of them"):
        explain(lambda texts: [1 / len(text.split()) for text in texts], output="logit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "odds"}, "unknown output"),
        ({"target": -1}, "target is not a class"),
        ({"target": 2}, "no such class; received: 2; expected: 0 to 1"),
        ({"target": True}, "target is not a class"),
        ({"epsilon": 0.5}, "epsilon out of range"),
        ({"batch_size": 0}, "batch_size out of range"),
        ({"domain": "texts"}, "unknown domain; received: 'texts'"),
        ({"domain": 3}, "not a domain"),
        ({"detector": "x"}, "unknown detector"),
        ({"perturbations": 3}, "perturbations out of range"),
    ],
)
def test_settings_out_of_range(sentiment, settings, message):
    with pytest.raises(nid.SettingError, match=message):
        nid.explain(sentiment, SENTENCE, **{"domain": "text", "output": "logit", **settings})


@pytest.mark.parametrize("model", [3, "text", dict])
def test_what_cannot_be_called(model):
    with pytest.raises(nid.UnsupportedError):
        explain(model)


def test_a_model_that_does_not_react(sentiment):
    found = explain(lambda texts: np.full(len(texts), 0.3), output="logit")
    assert len(found) == 0
    assert np.isnan([found.r2, found.r2_linear]).all()
    assert "0 interactions" in str(found)
