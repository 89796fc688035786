"""The adapter for DeepCTR on tf_keras: models that take its ordinary feature columns.

Importing this package imports no framework.
"""

from __future__ import annotations
