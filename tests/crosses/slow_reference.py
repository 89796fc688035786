"""Cross keys and ids in plain Python, by the letter of docs/keys.md, and the golden file made with them.

Independent of the package on purpose: arbitrary-precision integers, no NumPy, one row at a time.
``python tests/crosses/slow_reference.py`` writes the golden file again; it must come out unchanged.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

GOLDEN_FILE = Path(__file__).parents[2] / "nid_plugins" / "testing" / "golden_keys.json"

WORD = 2**64


def to_float32(value):
    """Round to the nearest float32, ties to even, as a Python float."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % WORD
    return x ^ (x >> 31)


def member_id(value, *, cardinality=None, edges=None):
    """Return a member's id, or None when the value has none."""
    if value is None or math.isnan(value):
        return None
    if edges is not None:
        rounded = to_float32(value)
        return sum(1 for edge in edges if edge <= rounded)
    if value != math.floor(value) or not 0 <= value < cardinality:
        return None
    return int(value)


def cross_key(ids, sizes):
    """Return the key of a combination, or None when a member has no id."""
    if any(i is None for i in ids):
        return None
    if math.prod(sizes) <= 2**63 - 1:
        key = 0
        for i, size in zip(ids, sizes, strict=True):
            key = key * size + i
        return key
    h = 0
    for i in ids:
        h = mix64((h + 0x9E3779B97F4A7C15 + i) % WORD)
    return h - WORD if h >= 2**63 else h


def cross_id(key, vocabulary):
    """Return the cross id: 1 + the place of the key in the ascending vocabulary, or 0."""
    return vocabulary.index(key) + 1 if key is not None and key in vocabulary else 0


def frequent(keys, min_count):
    """Return the ascending keys that occur more than ``min_count`` times."""
    counts = {}
    for key in keys:
        if key is not None:
            counts[key] = counts.get(key, 0) + 1
    return sorted(key for key, count in counts.items() if count > min_count)


# 2**63 - 1 = 7 * 7 * 73 * 127 * 337 * 92737 * 649657: the last product for which keys are exact.
_FACTOR = 7 * 7 * 73 * 127 * 337
_COFACTOR = 92737 * 649657

_SPARSE = {
    "site": 7,
    "item": 2**24 + 5,
    "device": 2**31 + 10,
    "ip": 2**31 + 10,
    "user": 2**40,
    "left": _FACTOR,
    "right": _COFACTOR,
    "half": 2**31,
    "other_half": 2**32,
}
_DENSE = {
    "price": [to_float32(e) for e in (-2.5, 0.0, 0.1, 0.3, 0.7, 1.0, 3.3333, 16777216.0)],
    "age": [18.0, 25.0, 40.0],
}
_CROSSES = [
    ("site", "price"),
    ("site", "item"),
    ("item", "device"),
    ("device", "ip"),
    ("site", "price", "age"),
    ("left", "right"),
    ("half", "other_half"),
    ("site", "device", "ip"),
    ("device", "user"),
    ("item", "user", "price"),
    ("site", "item", "device", "ip", "user", "price", "age"),
]

_PRICES = [
    0.1,
    0.1 - 1e-12,
    0.1 + 1e-12,
    0.3,
    0.7,
    0.3333,
    3.3333,
    16777217.0,
    16777215.0,
    -0.0,
    0.0,
    -1e-30,
    -2.5,
]
_PRICES += [-2.5000000001, -2.6, 1.0, 0.9999999999, 0.99999994, 1e300, -1e300, None]
_AGES = [18.0, 17.999999, 25.0, 24.9999999999, 40.0, 39.0, 0.0, 120.0, None]
_EDGE_IDS = [
    -1,
    0,
    1,
    6,
    7,
    2**24 - 1,
    2**24,
    2**24 + 1,
    2**24 + 4,
    2**24 + 5,
    2**31 - 1,
    2**31,
    2**31 + 9,
    2**31 + 10,
]
_EDGE_IDS += [2**32 - 1, 2**32, 2**40 - 1, 2**40, None, 2.5]


_FIRST = [*(0 for _ in _SPARSE), -3.0, 0.0]
_LAST = [*(size - 1 for size in _SPARSE.values()), 1e300, 120.0]


def _neighbours():
    """Return rows that a careless reading takes for the first or the last combination, of which they are none.

    In each one member is wrong: negative or beyond the last (clipped), fractional (rounded or cut off), missing (taken
    for 0, or put in the last bin), or off by 2**32 (wrapped round in 32 bits).
    """
    rows = []
    for j, size in enumerate(_SPARSE.values()):
        rows += [[*_FIRST[:j], value, *_FIRST[j + 1 :]] for value in (-1, 0.5, None, 2**32, -(2**32))]
        rows += [[*_LAST[:j], value, *_LAST[j + 1 :]] for value in (size, size - 0.5, None, size - 1 + 2**32)]
    for j in range(len(_SPARSE), len(_FIRST)):
        rows += [[*own[:j], None, *own[j + 1 :]] for own in (_FIRST, _LAST)]
    return rows


def _rows():
    """Return rows of values in schema order; None for missing. A small linear congruential generator varies them."""
    state = 12345

    def draw(n):
        nonlocal state
        state = (6364136223846793005 * state + 1442695040888963407) % WORD
        return (state >> 33) % n

    rows = []
    for i in range(120):
        sparse = []
        for size in _SPARSE.values():
            if i % 3 == 0:
                sparse.append(_EDGE_IDS[draw(len(_EDGE_IDS))])
            elif i % 3 == 1:
                sparse.append(size - 1 - draw(2))  # the last ids of every field
            else:
                sparse.append(draw(size))
        rows.append([*sparse, _PRICES[draw(len(_PRICES))], _AGES[draw(len(_AGES))]])
    # Every price with every other member in range, so that no edge goes untested.
    rows += [[3, 2**24 + 1, 2**31, 2**31 + 1, 2**24 + 1, 5, 6, 7, 8, price, 25.0] for price in _PRICES]
    rows += [[3, 2**24, 2**31, 2**31 + 1, 2**24, 5, 6, 7, 8, 0.5, age] for age in _AGES]
    return [*rows, _FIRST, _LAST, *_neighbours()]


def build():
    """Return the golden file's content."""
    names = [*_SPARSE, *_DENSE]
    rows = _rows()
    members = [
        {
            name: member_id(value, cardinality=_SPARSE.get(name), edges=_DENSE.get(name))
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]
    crosses = []
    for fields in _CROSSES:
        sizes = [_SPARSE[name] if name in _SPARSE else len(_DENSE[name]) + 1 for name in fields]
        keys = [cross_key([row[name] for name in fields], sizes) for row in members]
        kept = {keys[rows.index(_FIRST)], keys[rows.index(_LAST)]}
        left_out = set(keys[rows.index(_LAST) + 1 :]) - kept
        distinct = [key for key in frequent(keys, 0) if key not in left_out]
        # Some more are left unseen.
        vocabulary = [key for place, key in enumerate(distinct) if place % 3 != 1 or key in kept]
        crosses.append(
            {
                "name": "__x__".join(fields),
                "fields": list(fields),
                "sizes": sizes,
                "exact": math.prod(sizes) <= 2**63 - 1,
                "vocabulary": vocabulary,
                "expected_keys": keys,
                "expected_ids": [cross_id(key, vocabulary) for key in keys],
            }
        )
    return {
        "about": "Made by tests/crosses/slow_reference.py; the format is described in docs/keys.md. null is missing.",
        "schema": {
            "fields": [
                *({"kind": "sparse", "name": name, "cardinality": size} for name, size in _SPARSE.items()),
                *({"kind": "dense", "name": name} for name in _DENSE),
            ]
        },
        "edges": _DENSE,
        "rows": rows,
        "expected_member_ids": [list(row.values()) for row in members],
        "crosses": crosses,
    }


def as_text(content):
    """Return the golden file's text, one row or cross a line."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            body = ",\n".join("  " + json.dumps(item) for item in value)
            lines.append(f" {json.dumps(key)}: [\n{body}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    GOLDEN_FILE.write_text(as_text(build()), encoding="utf-8")
