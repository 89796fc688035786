"""Real lift: do crosses detected by GLIDER help DeepCTR-Torch models on Criteo and Amazon rows?"""

from __future__ import annotations
