"""What a model returns, told from its scores on rows of the schema."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nid_plugins.adapter import Predictor
from nid_plugins.adapting import probed_output, synthetic_rows
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import FrameError, ModelError, NidWarning, SettingError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


class Linear(Predictor):
    """A logistic regression on the row's sum, of which the scores are made by a function of the test."""

    def __init__(self, scores):
        self._scores = scores

    def __call__(self, rows):
        return self._scores(rows.sum(axis=1) - rows.sum(axis=1).mean())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_values_outside_the_unit_interval_are_logits(crosses):
    assert probed_output(Linear(lambda x: x), crosses) == "logit"
    assert probed_output(Linear(lambda x: x[:, None]), crosses, "auto", "auto") == "logit"


def test_values_inside_it_are_probabilities_with_a_warning_unless_declared(crosses):
    with pytest.warns(NidWarning, match=r"256 rows drawn from the schema all lie in \[0, 1\]"):
        assert probed_output(Linear(sigmoid), crosses) == "probability"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probed_output(Linear(sigmoid), crosses, declared="probability") == "probability"


def test_what_the_user_says_stands(crosses):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probed_output(Linear(sigmoid), crosses, "logit") == "logit"
        assert probed_output(Linear(lambda x: x), crosses, "probability") == "probability"
    with pytest.raises(SettingError, match="unknown output; received: 'score'"):
        probed_output(Linear(sigmoid), crosses, "score")


def test_a_few_nans_are_looked_past(crosses):
    assert probed_output(Linear(lambda x: np.where(x > 0, x, np.nan)), crosses) == "logit"


def raises(error):
    def scores(x):
        raise error

    return scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (raises(ValueError("no")), "the model raised ValueError on rows drawn from the crosses' schema: no"),
        (
            lambda x: np.stack([x, x], axis=1),
            "does not return one score a row; received: (256, 2) for 256 rows",
        ),
        (lambda x: x[:-1], "does not return one score a row"),
        (lambda x: (x > 0).astype(int), "output cannot be corrected; received: dtype int64"),
        (lambda x: x * np.nan, "the model returned NaN"),
    ],
)
def test_models_without_one_score_a_row_are_refused(crosses, scores, message):
    with pytest.raises(ModelError) as error:
        probed_output(Linear(scores), crosses)
    assert message in str(error.value)


def test_errors_of_ours_are_passed_on(crosses):
    with pytest.raises(FrameError, match="lacks a column"):
        probed_output(Linear(raises(FrameError("the input lacks a column"))), crosses)


def test_rows_fit_the_schema_and_are_the_same_every_time(crosses):
    rows = synthetic_rows(crosses)
    assert rows.shape == (256, 3)
    np.testing.assert_array_equal(rows, synthetic_rows(crosses))
    assert set(rows[:, 0]) == set(range(5))
    assert set(rows[:, 1]) <= set(crosses.edges["price"].astype(float))
    assert synthetic_rows(crosses, n=3).shape == (3, 3)


def test_dense_fields_that_no_cross_has_are_normal():
    schema = FeatureSchema([SparseField("a", 3), SparseField("b", 3), DenseField("free")])
    frame = {"a": np.arange(9) % 3, "b": np.arange(9) % 2, "free": np.arange(9.0)}
    own = synthetic_rows(fit_crosses([("a", "b")], frame, schema, min_count=1), n=4000)[:, 2]
    assert abs(own.mean()) < 0.1
    assert abs(own.std() - 1) < 0.1
