"""The adapter for Lightning: modules whose ``forward`` is the CTR model, and callbacks for their trainer.

Both of Lightning's packages are served, ``lightning.pytorch`` by :mod:`nid_lightning.callbacks` and
``pytorch_lightning`` by :mod:`nid_lightning.pl_callbacks`. Importing this package imports no framework.
"""

from __future__ import annotations
