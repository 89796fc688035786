"""Text: what the model is asked, and what is found in a sentence with a negation."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.domains import Text

SENTENCE = "This film is not a good film, really."
RNG = np.random.default_rng(0)


def texts(features, *rows):
    return features.batch(np.array(rows, dtype=bool), RNG)


def test_all_on_is_the_text_to_the_letter():
    text = "  Well,\tthis isn't   bad -- at all!\n"
    features = Text().features(text)
    assert features.labels == ["Well", "this", "isn't", "bad", "at", "all"]
    assert texts(features, [1] * 6) == [text]


def test_off_words_go_with_their_blank_and_commas_stay():
    features = Text().features("Good, but not great.")
    assert texts(features, [1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]) == ["Good, great.", ", but not.", ",."]


def test_a_mask_token_stands_in_place():
    features = Text(mask="[MASK]").features("Good, but not great.")
    assert texts(features, [1, 0, 1, 0]) == ["Good, [MASK] not [MASK]."]


def test_a_list_of_tokens_stays_one():
    assert texts(Text().features(["a", "b", "c"]), [1, 0, 1], [0, 0, 0]) == [["a", "c"], []]
    assert texts(Text(mask="?").features(("a", "b")), [0, 1]) == [["?", "b"]]


def test_tokens_that_stand_in_the_text_keep_what_is_between_them():
    features = Text(tokenizer=list).features("不好 看")
    assert features.labels == ["不", "好", " ", "看"]
    features = Text(tokenizer=str.split).features("so  so.")
    assert texts(features, [1, 1], [0, 1]) == ["so  so.", "so."]


def test_word_pieces_are_joined_again():
    class Pieces:
        def tokenize(self, text):
            return ["un", "##like", "##ly", "good"]

        def convert_tokens_to_string(self, tokens):
            return " ".join(tokens).replace(" ##", "")

    features = Text(tokenizer=Pieces()).features("unlikely good")
    assert texts(features, [1, 1, 1, 1], [1, 0, 1, 1]) == ["unlikely good", "unly good"]
    features = Text(tokenizer=lambda text: text.lower().split(), join="+".join).features("A b")
    assert texts(features, [1, 1]) == ["a+b"]


DETECTORS = ["least_squares", "nid", "gradient_nid", "archdetect", "matching_pursuit"]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("text", ["not good", "a not good", "not a good film"])
def test_a_text_of_two_words_is_enough(sentiment, detector, text):
    found = nid.explain(
        sentiment, text, domain="text", output="logit", target=1, detector=detector, perturbations=200
    )
    assert found.interactions[0].labels == ("not", "good")
    assert found.interactions[0].effect == pytest.approx(-4.0, abs=0.2)
    assert found.r2 == pytest.approx(1.0)


def test_a_hundred_words_are_not_too_many(sentiment):
    text = " ".join(["word"] * 60 + ["not"] + ["word"] * 60 + ["good"])
    found = nid.explain(
        sentiment,
        text,
        domain="text",
        output="logit",
        target=1,
        detector="matching_pursuit",
        perturbations=2000,
    )
    assert found.interactions[0].positions == (60, 121)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_negation_leads_with_every_detector(sentiment, detector):
    found = nid.explain(
        sentiment, SENTENCE, domain="text", output="logit", target=1, detector=detector, perturbations=1200
    )
    first = found.interactions[0]
    assert first.fields == (("not", 3), ("good", 5))
    assert first.effect == pytest.approx(-4.0, abs=0.1)
    assert first.gain > 0.2
    assert found.r2 > 0.99
    assert found.r2_linear < 0.8
    assert found.effects[5] == pytest.approx(2.0, abs=0.1)
    assert found.logit == pytest.approx(-1.8)
    assert str(first) == "not x good"


def test_a_word_that_repeats_is_told_apart_by_its_position(sentiment, quick):
    found = nid.explain(sentiment, SENTENCE, domain="text", output="logit", target=1, **quick)
    films = [one for one in found if one.labels == ("film", "film")]
    assert [one.positions for one in films] == [(1, 6)]  # either is enough: they stand in for each other
    assert films[0].effect < 0


@pytest.mark.parametrize(
    ("instance", "options", "message"),
    [
        ("", {}, "has no words"),
        ("... !", {}, "has no words"),
        ("word", {}, "too few features; received: 1"),
        ([], {}, "no tokens"),
        (["a", 3], {}, "not a list of tokens"),
        (7, {}, "not a text"),
        (b"ab cd", {}, "not a text"),
        ("a b", {"tokenizer": lambda _: []}, "no tokens"),
        ("a b", {"tokenizer": lambda text: text}, "not a list of tokens"),
        ("w " * 1001, {}, "too many features"),
    ],
)
def test_what_is_no_text(sentiment, instance, options, message):
    with pytest.raises(nid.FrameError, match=message):
        nid.explain(sentiment, instance, domain="text", output="logit", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": 3}, "mask is not a token"),
        ({"tokenizer": 3}, "not a tokenizer"),
        ({"join": 3}, "join is not callable"),
        ({"tokenizer": lambda _: 1 / 0}, "the tokenizer raised ZeroDivisionError"),
        ({"tokeniser": str.split}, "the domain 'text' has no option 'tokeniser'"),
        ({"baseline": "oov"}, "a domain has no baseline"),
        ({"background": ["a"]}, "has no option 'background'"),
    ],
)
def test_options_out_of_range(sentiment, options, message):
    with pytest.raises(nid.SettingError, match=message):
        nid.explain(sentiment, "a b", domain="text", output="logit", **options)
