"""The suite's tests of bad input: every error is one of ours, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import FrameError, ModelError, SettingError, UnsupportedError
from nid_plugins.plugins import get_manager
from nid_plugins.testing.fixtures import Fixtures
from nid_plugins.testing.injection import both_modes
from nid_plugins.testing.log import strange_crosses

if TYPE_CHECKING:
    from nid_plugins.testing.log import ClickLog, Frame

BAD_IDS = {"missing": np.nan, "fractional": 1.5, "negative": -1, "out of range": 12, "infinite": np.inf}


class BadInput(Fixtures):
    """What a caller can get wrong."""

    @pytest.mark.parametrize("what", ["no such column", "text", "shape", "length", "no rows", *BAD_IDS])
    def test_a_bad_frame_is_a_typed_error(self, what: str, source: Any, log: ClickLog) -> None:
        """Whatever is wrong with a column, the error is a ``FrameError``, and names the field where there is one."""
        box = nid.wrap(source, log.schema, **self.wrap_options)
        frame: Frame = log.rows(0, 20)
        with self.unchanged(source), self.raises(FrameError, says=None if what == "no rows" else "item"):
            box.logits(_spoilt(frame, what))

    def test_a_field_the_model_does_not_know_is_a_typed_error_or_ignored(
        self, source: Any, log: ClickLog
    ) -> None:
        """One of the schema, that is; other columns of a frame are never looked at."""
        schema = nid.FeatureSchema([*log.schema, nid.SparseField("stranger", 3)])
        frame = {**log.rows(0, 20), "stranger": np.arange(20) % 3}
        if self.ignores_unknown_fields:
            logits = nid.wrap(source, schema, **self.wrap_options).logits(frame)
            own = nid.wrap(source, log.schema, **self.wrap_options).logits(log.rows(0, 20))
            np.testing.assert_array_equal(logits, own)
            return
        with self.unchanged(source), self.raises():
            nid.wrap(source, schema, **self.wrap_options).logits(frame)

    def test_a_field_left_out_of_the_schema_is_a_typed_error(self, source: Any, log: ClickLog) -> None:
        """The model needs every one."""
        schema = nid.FeatureSchema(field for field in log.schema if field.name != "item")
        with self.unchanged(source), self.raises():
            nid.wrap(source, schema, **self.wrap_options).logits(log.rows(0, 20))

    def test_a_model_of_two_scores_a_row_is_a_typed_error(self, log: ClickLog) -> None:
        """When it is wrapped, at the latest when it predicts; and when it is injected into."""
        model = self.two_scores(log.schema)
        with self.raises(ModelError, UnsupportedError):
            nid.wrap(model, log.schema, **self.wrap_options).logits(log.rows(0, 20))
        with self.raises(ModelError, UnsupportedError):
            nid.inject(model, log.crosses, **self.residual_options)

    @pytest.mark.parametrize("option", ["inputs", "output"])
    def test_an_unknown_way_of_input_or_output_is_a_typed_error(
        self, option: str, source: Any, log: ClickLog
    ) -> None:
        """The adapter checks ``inputs``; it is not for it to guess."""
        with self.unchanged(source), self.raises(SettingError, says="sideways"):
            nid.wrap(source, log.schema, **{**self.wrap_options, option: "sideways"})

    @both_modes
    def test_an_unknown_option_of_inject_is_named(self, mode: str, source: Any, log: ClickLog) -> None:
        """Never swallowed: a misspelt option would change nothing, and no one would know."""
        if self.refused(mode, source, log):
            return
        with self.unchanged(source), self.raises(SettingError, says="embeddinsg"):
            self.injected(mode, source, log, embeddinsg={})

    def test_an_unknown_mode_is_a_typed_error(self, source: Any, log: ClickLog) -> None:
        """By ``nid.inject``; and the modes the adapter lacks, by the adapter."""
        unknown: Any = "sideways"
        with self.unchanged(source), self.raises(SettingError, says="sideways"):
            nid.inject(source, log.crosses, unknown)
        assert self.modes <= {"residual", "rebuild"}
        for mode in {"residual", "rebuild"} - self.modes:
            assert self.refused(mode, source, log)

    def test_columns_are_claimed_only_where_models_can_be_rebuilt(self, log: ClickLog) -> None:
        """From columns of no framework no model can be."""
        adapter = get_manager().adapters()[self.adapter]
        for columns in ([], None, "columns", [object()], list(log.schema), log.crosses):
            assert not adapter.claims_columns(columns), repr(columns)
        if "rebuild" in self.modes:
            assert get_manager().adapter_for_columns(self.builder(log.schema)[1]).name == self.adapter
        with self.raises(UnsupportedError):
            nid.inject(lambda *columns: columns, log.crosses, "rebuild", columns=[object()])

    @both_modes
    def test_crosses_of_another_schema_are_a_typed_error(self, mode: str, source: Any, log: ClickLog) -> None:
        """Their members are no inputs of the model."""
        if self.refused(mode, source, log):
            return
        crosses = strange_crosses()
        if mode == "residual":
            with self.unchanged(source), self.raises():
                nid.inject(source, crosses, **self.residual_options)
            return
        build, columns = self.builder(log.schema)
        with self.unchanged(source), self.raises():
            nid.inject(build, crosses, "rebuild", columns=columns, **self.rebuild_options)

    @both_modes
    @pytest.mark.parametrize("what", ["unknown cross", "shape", "not finite", "not a mapping"])
    def test_embeddings_that_do_not_fit_are_a_typed_error(
        self, what: str, mode: str, source: Any, log: ClickLog
    ) -> None:
        """Of a cross there is not, of another vocabulary, with a NaN, or not given by name."""
        if self.refused(mode, source, log):
            return
        known = nid.cross_embeddings(self._once(f"fresh {mode}", lambda: self.injected(mode, source, log)))
        first = log.crosses.names[0]
        bad: Any = {
            "unknown cross": {"no_such_cross": known[first]},
            "shape": {first: known[first][:-1]},
            "not finite": {first: np.full_like(known[first], np.nan)},
            "not a mapping": [known[first]],
        }[what]
        with self.unchanged(source), self.raises(SettingError):
            self.injected(mode, source, log, embeddings=bad)

    def test_the_same_crosses_twice_are_a_typed_error(self, source: Any, log: ClickLog) -> None:
        """The injected model has them; it can be trained on."""
        if self.refused("residual", source, log):
            return
        target = self.injected("residual", source, log)
        with self.unchanged(target), self.raises(UnsupportedError, SettingError):
            self.injected("residual", target, log)

    def test_a_builder_that_fails_is_a_typed_error(self, source: Any, log: ClickLog) -> None:
        """It raises, returns no model, or leaves the crosses out."""
        if self.refused("rebuild", source, log):
            return
        columns = self.builder(log.schema)[1]
        for bad in (_raising, lambda *_: None, lambda *_: object(), lambda *_: self.model_of(log)):
            with self.raises(ModelError, SettingError, UnsupportedError):
                nid.inject(bad, log.crosses, "rebuild", columns=columns, **self.rebuild_options)


def _raising(*_: Any) -> Any:
    raise RuntimeError("no model today")


def _spoilt(frame: Frame, what: str) -> Frame:
    item = frame["item"]
    if what == "no such column":
        return {name: column for name, column in frame.items() if name != "item"}
    if what == "no rows":
        return {name: column[:0] for name, column in frame.items()}
    if what == "text":
        bad: Any = np.array([f"item {i}" for i in item])
    elif what == "shape":
        bad = np.stack([item, item], axis=1)
    elif what == "length":
        bad = item[:-1]
    else:
        bad = item.astype(np.float64)
        bad[11] = BAD_IDS[what]
    return {**frame, "item": bad}
