"""The suite's tests of what an adapter injects. Each runs for both modes; an unsupported mode must be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import UnsupportedError
from nid_plugins.plugins import get_manager
from nid_plugins.testing.fixtures import BATCH, Fixtures, seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nid_plugins.testing.log import ClickLog

both_modes = pytest.mark.parametrize("mode", ["residual", "rebuild"])


class Injection(Fixtures):
    """Models with crosses."""

    @pytest.fixture
    def target(self, mode: str, source: Any, log: ClickLog) -> Iterator[Any]:
        """An injected model, trained a few steps, or None where the mode is not supported. Tests leave it as it is."""
        if self.refused(mode, source, log):
            yield None
            return
        yield from self._lent(
            f"target {mode}", lambda: self.trained(self.injected(mode, source, log), log, 3)
        )

    def test_residual_injection_is_exact_at_the_start(self, source: Any, log: ClickLog) -> None:
        """The framework's own prediction, of many rows and of one, is the model's to the last bit."""
        if self.refused("residual", source, log):
            return
        target = self.injected("residual", source, log)
        assert target is not source
        assert (log.crosses.transform(log.frame) > 0).any(axis=0).all()
        for frame in (log.frame, log.rows(7, 8)):
            np.testing.assert_array_equal(self.exact(target, frame), self.exact(source, frame))
        box, own = (nid.wrap(m, log.schema, **self.wrap_options) for m in (target, source))
        np.testing.assert_array_equal(box.logits(log.frame), own.logits(log.frame))

    @both_modes
    def test_injection_leaves_the_model_as_it_was(self, mode: str, source: Any, log: ClickLog) -> None:
        """Weights, modes, optimiser and random generators; and so does training the new model."""
        if self.refused(mode, source, log):
            return
        with self.unchanged(source):
            target = self.injected(mode, source, log)
        with self.unchanged(source, draws=True):
            self.trained(target, log, 2)

    @both_modes
    def test_one_step_moves_the_embeddings_of_its_combinations_and_no_others(
        self, mode: str, source: Any, log: ClickLog
    ) -> None:
        """And of a residual model row 0, for all other combinations, is zero and stays so."""
        if self.refused(mode, source, log):
            return
        target = self.injected(mode, source, log)
        before = {name: own.copy() for name, own in nid.cross_embeddings(target).items()}
        rows = log.rows(0, BATCH)
        # All of one class: in a fresh model a click and a non-click of the same combination would cancel out.
        self.train(target, rows, np.ones_like(log.label[:BATCH]))
        after = nid.cross_embeddings(target)
        for name, ids in zip(log.crosses.names, seen(log.crosses, rows), strict=True):
            assert 0 < len(ids) < len(before[name]) - 1, "the log has combinations in the batch and beyond it"
            moved = {int(i) for i in np.flatnonzero((before[name] != after[name]).any(axis=1))}
            assert moved - {0} == ids, f"cross {name!r}"
            if mode == "residual":
                assert not before[name][0].any()
                assert not after[name][0].any()

    @both_modes
    def test_cross_embeddings_have_a_row_for_every_combination(
        self, mode: str, target: Any, log: ClickLog
    ) -> None:
        """And one for the rest; they are a copy, and reading them leaves the model as it was."""
        if target is None:
            return
        with self.unchanged(target):
            embeddings = nid.cross_embeddings(target)
            for own in embeddings.values():
                if own.flags.writeable:
                    own[:] += 1.0
            embeddings = nid.cross_embeddings(target)
        assert tuple(embeddings) == log.crosses.names
        for own, size in zip(embeddings.values(), log.crosses.vocabulary_sizes, strict=True):
            assert isinstance(own, np.ndarray)
            assert own.dtype == np.float32
            assert own.ndim == 2
            assert own.shape[0] == size + 1
            assert np.isfinite(own).all()
            assert own[1:].any()

    @both_modes
    def test_embeddings_carried_to_another_model_are_the_same(
        self, mode: str, target: Any, log: ClickLog
    ) -> None:
        """To the last bit; and residual injection is exact at the start all the same."""
        if target is None:
            return
        learned = nid.cross_embeddings(target)
        other = self.model_of(log, seed=2)
        carried = self.injected(mode, other, log, embeddings=learned)
        found = nid.cross_embeddings(carried)
        assert found.keys() == learned.keys()
        for name, own in learned.items():
            np.testing.assert_array_equal(found[name], own)
        if mode == "residual":
            np.testing.assert_array_equal(self.exact(carried, log.frame), self.exact(other, log.frame))
            before = self.exact(carried, log.frame)
            self.trained(carried, log, 2)
            assert (self.exact(carried, log.frame) != before).any(), "what was carried must take part"

    @both_modes
    def test_saving_and_loading_is_exact(self, mode: str, target: Any, log: ClickLog, tmp_path: Path) -> None:
        """Predictions and embeddings are the same to the last bit, and the adapter knows the model again."""
        if target is None:
            return
        with self.unchanged(target):
            self.save(target, tmp_path)
        loaded = self.load(tmp_path)
        assert loaded is not target
        assert get_manager().adapter_for(loaded).name == self.adapter
        np.testing.assert_array_equal(self.exact(loaded, log.frame), self.exact(target, log.frame))
        embeddings, found = nid.cross_embeddings(target), nid.cross_embeddings(loaded)
        assert tuple(found) == tuple(embeddings)
        for name, own in embeddings.items():
            np.testing.assert_array_equal(found[name], own)

    @both_modes
    def test_an_injected_model_is_a_model_like_any_other(self, mode: str, target: Any, log: ClickLog) -> None:
        """It takes the same frames, without crosses, and is wrapped and left as it was like the model it came from."""
        if target is None:
            return
        with self.unchanged(target):
            box = nid.wrap(target, log.schema, **self.wrap_options)
            logits = box.logits(log.frame)
        assert box.adapter == self.adapter
        expected = self.logits_of_predict(target, log.frame)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=self.tolerance)

    def test_a_model_without_crosses_has_no_embeddings(self, source: Any) -> None:
        """Asking for them is a typed error."""
        with self.raises(UnsupportedError):
            nid.cross_embeddings(source)
