"""Ids that float32 would round."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins.adapting.precision
from nid_plugins.adapting import FLOAT32_IDS, check_exact_crosses, check_exact_ids
from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


def test_the_limit_is_where_float32_begins_to_round():
    ids = np.arange(FLOAT32_IDS - 3, FLOAT32_IDS)
    np.testing.assert_array_equal(ids.astype(np.float32).astype(np.int64), ids)
    assert int(np.float32(FLOAT32_IDS + 1)) == FLOAT32_IDS


def test_fields():
    check_exact_ids(FeatureSchema([SparseField("a", FLOAT32_IDS), DenseField("x")]))
    with pytest.raises(SchemaError, match="field 'a': ids would be rounded in a float32 matrix"):
        check_exact_ids(FeatureSchema([SparseField("a", FLOAT32_IDS + 1)]))


def test_crosses(crosses, monkeypatch):
    check_exact_crosses(crosses)
    largest = max(crosses.vocabulary_sizes) + 1
    monkeypatch.setattr(nid_plugins.adapting.precision, "FLOAT32_IDS", largest)  # a real one takes gigabytes
    check_exact_crosses(crosses)
    monkeypatch.setattr(nid_plugins.adapting.precision, "FLOAT32_IDS", largest - 1)
    with pytest.raises(SettingError, match="has more ids than float32 tells apart"):
        check_exact_crosses(crosses)
