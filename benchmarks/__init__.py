"""Benchmarks: each script writes JSON under results/, which the tables in the docs are made from."""

from __future__ import annotations
