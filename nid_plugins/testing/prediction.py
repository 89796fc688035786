"""The suite's tests of an adapter's predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import nid_plugins as nid
from nid_plugins.errors import UnsupportedError
from nid_plugins.testing.fixtures import BATCH, Fixtures, differs, frozen

if TYPE_CHECKING:
    from nid_plugins.testing.log import ClickLog

_ROWS = 64


class Prediction(Fixtures):
    """The model as a black box."""

    def test_logits_agree_with_the_framework_s_own_predict(self, source: Any, log: ClickLog) -> None:
        """On every row, whatever the columns' order in the frame. That takes telling probabilities from logits rightly."""
        expected = self.logits_of_predict(source, log.frame)
        assert expected.shape == log.label.shape
        assert expected.std() > self.tolerance, "the model must not be constant"
        box = nid.wrap(source, log.schema, **self.wrap_options)
        logits = box.logits(log.frame)
        assert box.adapter == self.adapter
        assert box.output in ("probability", "logit")
        assert logits.dtype == np.float64
        np.testing.assert_allclose(logits, expected, rtol=0, atol=self.tolerance)
        turned = dict(reversed([*log.frame.items(), ("not a field", np.zeros(len(log.label)))]))
        np.testing.assert_array_equal(box.logits(turned), logits)

    def test_a_row_s_logit_does_not_depend_on_its_batch(self, source: Any, log: ClickLog) -> None:
        """One row at a time, a few, or all of them."""
        rows = log.rows(0, 23)
        expected = self.logits_of_predict(source, rows)
        for size in (1, 7, 2048):
            box = nid.wrap(source, log.schema, batch_size=size, **self.wrap_options)
            np.testing.assert_allclose(box.logits(rows), expected, rtol=0, atol=self.tolerance)

    def test_wrapping_and_predicting_leave_the_model_as_it_was(self, source: Any, log: ClickLog) -> None:
        """Weights, modes, optimiser and random generators, to the last bit."""
        with self.unchanged(source):
            box = nid.wrap(source, log.schema, **self.wrap_options)
            box.logits(log.frame)

    def test_detection_leaves_the_model_as_it_was(self, source: Any, log: ClickLog) -> None:
        """``nid.explain`` and ``nid.detect``, which query it many times."""
        box = nid.wrap(source, log.schema, **self.wrap_options)
        few: dict[str, Any] = {"background": log.frame, "perturbations": 120, "detector": "least_squares"}
        with self.unchanged(source):
            nid.explain(box, log.rows(3, 4), **few)
            report = nid.detect(
                box, log.rows(0, _ROWS), instances=3, seed=0, progress=False, prune="none", **few
            )
        assert {name for pair in report.interactions for name in pair.fields} <= set(log.schema.names)

    def test_embeddings_can_be_zeroed_field_by_field_or_that_is_refused(
        self, source: Any, log: ClickLog
    ) -> None:
        """With all fields on nothing is zeroed; with one off, the logit moves; the model stays as it was."""
        box = nid.wrap(source, log.schema, **self.wrap_options)
        row = np.array([log.frame[name][5] for name in log.schema.names], dtype=np.float64)
        on = np.vstack([np.ones(len(row), dtype=bool), ~np.eye(len(row), dtype=bool)])
        with self.unchanged(source):
            if not self.zeroes_embeddings:
                with self.raises(UnsupportedError):
                    box.logits_zeroed(row, on)
                return
            logits = box.logits_zeroed(row, on)
        own = box.logits(log.rows(5, 6))[0]
        assert abs(logits[0] - own) <= self.tolerance
        off = np.abs(logits[1:] - own)[[field in log.schema.sparse for field in log.schema]]
        assert (off > 0).any()

    def test_the_hook_state_sees_a_step_of_training(self, log: ClickLog) -> None:
        """Else the tests that a model is as it was could not fail."""
        model = self.model_of(log, seed=3)
        before = frozen(self.state(model))
        assert differs(before, frozen(self.state(model))) is None, "state() must return the same twice"
        self.train(model, log.rows(0, BATCH), log.label[:BATCH])
        assert differs(before, frozen(self.state(model))) is not None
