"""Amounts of memory."""

from __future__ import annotations

import pytest

import nid_plugins as nid
from nid_plugins.sizes import byte_count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1, 1),
        (12345, 12345),
        ("7", 7),
        ("7 B", 7),
        ("512MB", 512 * 10**6),
        ("1.5 GB", 1_500_000_000),
        ("2GiB", 2 * 2**30),
        ("64kib", 64 * 1024),
        (" 3 TB ", 3 * 10**12),
    ],
)
def test_numbers_and_text(text, size):
    assert byte_count(text) == size


@pytest.mark.parametrize(
    "wrong", [0, -1, True, 1.5, None, "", "MB", "12 parsecs", "-3MB", "0.1", "1e9", b"1MB"]
)
def test_anything_else_is_refused(wrong):
    with pytest.raises(nid.SettingError, match="budget is not an amount of memory.*512MB"):
        byte_count(wrong, "budget")
