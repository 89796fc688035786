"""The suite's tests of a detector's masks and answers: the contract of :class:`nid_plugins.detection.Detector`."""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nid_plugins.detection.detector import checked
from nid_plugins.detection.masks import MIN_ROWS
from nid_plugins.errors import NidError
from nid_plugins.testing.detector_fixtures import DetectorFixtures, few_masks, logits_on, seeds, strong

if TYPE_CHECKING:
    from nid_plugins.detection import Explanation


class Answering(DetectorFixtures):
    """What a detector returns, and what it must leave alone."""

    @pytest.mark.parametrize("fields", [2, 3, 8])
    def test_masks_begin_with_the_instance_and_random_ones(self, fields: int) -> None:
        """Shape (M, p), the first row all on; random rows enough to fit and judge any explainer; the same for a seed."""
        detector = self.registered()
        masks, again, other = (
            np.asarray(detector.masks(fields, self.perturbations, np.random.default_rng(seed)))
            for seed in (1, 1, 2)
        )
        assert masks.ndim == 2
        assert masks.shape[1] == fields
        assert masks.dtype == bool
        assert masks[0].all(), "the first mask must be the instance itself"
        np.testing.assert_array_equal(again, masks, "the same seed gives other masks")
        count = detector.random_rows(masks)
        assert MIN_ROWS <= count <= len(masks)
        drawn = masks[:count]
        assert not np.array_equal(drawn, other[: detector.random_rows(other)]), "masks do not follow the seed"
        share = drawn[1:].mean(axis=0)
        assert ((share > 0.15) & (share < 0.85)).all(), f"fields are on in {share} of the random masks"

    @pytest.mark.parametrize("fields", [2, 3, 8])
    def test_answers_keep_to_the_contract(self, fields: int) -> None:
        """One explanation an instance; sets ascending, each once; strengths finite, not negative, strongest first."""
        detector, masks, state = self.ready(fields)
        targets = logits_on(masks)
        explanations = detector.fit(state, targets, seeds(len(targets)))
        assert len(explanations) == len(targets), "one explanation an instance"
        for found in explanations:
            checked(self.detector, found, np.zeros(fields, dtype=bool))
            for size in {len(members) for members in found.sets}:
                of_size = [s for m, s in zip(found.sets, found.strengths, strict=True) if len(m) == size]
                assert of_size == sorted(of_size, reverse=True), f"sets of {size} are not strongest first"
            assert np.isnan(found.r2) or found.r2 <= 1.0
            if found.pairs is not None:
                pairs = np.asarray(found.pairs)
                np.testing.assert_allclose(
                    pairs, pairs.T, 1e-9, 1e-9, err_msg="pair strengths are not symmetric"
                )
                assert not np.diagonal(pairs).any(), "a field does not interact with itself"
        assert explanations[3].sets == [], "a constant has no interactions"
        for found, pair in zip(explanations[::4], ((0, 1), (0, fields - 1)), strict=True):
            assert max(_pairs_of(found), key=_pairs_of(found).__getitem__) == pair

    def test_an_instance_does_not_depend_on_its_neighbours(self) -> None:
        """Alone, in another order, or with others: an instance's answer is its own, and comes from its own seed."""
        detector, masks, state = self.ready(8)
        targets = logits_on(masks)
        own = seeds(len(targets))
        together = detector.fit(state, targets, own)
        turned = detector.fit(state, targets[::-1].copy(), own[::-1])[::-1]
        for b, found in enumerate(together):
            (alone,) = detector.fit(state, targets[b : b + 1], own[b : b + 1])
            self.alike(found, alone)
            self.alike(found, turned[b])

    def test_randomness_comes_from_the_seeds_alone(self) -> None:
        """Python's and NumPy's own generators are neither used nor moved."""
        detector, masks, state = self.ready(8)
        targets = logits_on(masks)[:2]
        before = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a careless detector would touch
        try:
            # A state nobody seeds: one that a careless detector has left before would not move when it is seeded again.
            random.seed(314_159_265)
            np.random.seed(314_159_265)  # noqa: NPY002 - as above
            own = random.getstate(), np.random.get_state()  # noqa: NPY002 - as above
            found = detector.fit(state, targets, seeds(2))
            after = random.getstate(), np.random.get_state()  # noqa: NPY002 - as above
            assert own[0] == after[0], "Python's random state has moved"
            assert pickle.dumps(own[1]) == pickle.dumps(after[1]), "NumPy's random state has moved"
            random.seed(99)
            np.random.seed(99)  # noqa: NPY002 - as above
            for one, again in zip(found, detector.fit(state, targets, seeds(2)), strict=True):
                assert one.sets == again.sets
                np.testing.assert_array_equal(one.strengths, again.strengths)
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002 - as above

    def test_masks_and_logits_are_left_as_they_are(self) -> None:
        """They are shared: with the other instances, and with the selection by held-out gain."""
        detector, masks, _ = self.ready(8)
        given = masks.copy()
        state = detector.prepare(given)
        targets = logits_on(masks)
        logits = targets.copy()
        detector.fit(state, logits, seeds(len(logits)))
        np.testing.assert_array_equal(given, masks, "the masks were changed")
        np.testing.assert_array_equal(logits, targets, "the logits were changed")

    def test_what_was_prepared_serves_again_and_again(self) -> None:
        """The state is made once a detection, and used for every group of instances."""
        detector, masks, state = self.ready(8)
        targets = logits_on(masks)[:1]
        (first,) = detector.fit(state, targets, seeds(1))
        detector.fit(state, logits_on(masks)[1:], seeds(4, first=1))
        (again,) = detector.fit(state, targets, seeds(1))
        assert first.sets == again.sets
        np.testing.assert_array_equal(first.strengths, again.strengths)

    def test_it_can_be_sent_to_another_process(self) -> None:
        """As the executors ``processes`` and ``ray`` do with it."""
        detector, masks, state = self.ready(8)
        sent = pickle.loads(pickle.dumps(detector))  # noqa: S301 - of our own making
        assert sent.options() == detector.options()
        targets = logits_on(masks)[:2]
        there = sent.fit(sent.prepare(masks), targets, seeds(2))
        for one, other in zip(detector.fit(state, targets, seeds(2)), there, strict=True):
            self.alike(one, other)

    def test_few_masks_are_enough_or_a_typed_error(self) -> None:
        """A detection can have as few as 24: whatever that is worth, it is no error of some library's."""
        detector = self.registered()
        try:
            masks = np.asarray(detector.masks(8, MIN_ROWS, np.random.default_rng(0)))
            state = detector.prepare(masks)
        except NidError:
            return
        targets = logits_on(masks)
        assert masks.shape[1] == few_masks(8).shape[1]
        for found in detector.fit(state, targets, seeds(len(targets))):
            checked(self.detector, found, np.zeros(8, dtype=bool))


def _pairs_of(found: Explanation) -> dict[tuple[int, ...], float]:
    pairs = {members: strength for members, strength in strong(found).items() if not members[2:]}
    assert pairs, "no pair was found"
    return pairs
