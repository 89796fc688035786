"""A simulated impression log whose interactions are known: ground truth for tests, benchmarks and the demo.

>>> from nid_plugins.simulate import simulate
>>> log = simulate(1_000, seed=0)
>>> sorted(log.frame) == sorted(log.schema.names)  # what a CTR model sees: log.frame, log.label, log.schema
True
>>> log.planted_sets[0] <= set(log.schema.names)  # the truth: log.planted, log.logit
True
"""

from __future__ import annotations

from nid_plugins.simulate.log import SimulatedLog
from nid_plugins.simulate.plan import DEFAULT_FIELDS, FieldPlan, Plan, Planted
from nid_plugins.simulate.world import World, simulate

__all__ = ["DEFAULT_FIELDS", "FieldPlan", "Plan", "Planted", "SimulatedLog", "World", "simulate"]
