"""The adapter for PyTorch: any ``torch.nn.Module`` that takes one batch and returns one score a row.

Importing this package imports no framework; :mod:`nid_torch.layers` does.
"""

from __future__ import annotations
