"""Commands of the benchmarks on real clicks: their data is the reader's, so what is seen is that they know the options."""

from __future__ import annotations


def given():
    return {}
