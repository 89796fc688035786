"""Reading click logs: files in, an integer-coded frame and its schema out.

Vocabularies, thresholds and scales come from the training rows alone. What they were is an :class:`Encoder`, saved as
JSON beside the model, so that serving and detection see the same ids.
"""

from __future__ import annotations

from nid_plugins.readers.clicks import Clicks, EncodedClicks, read_clicks
from nid_plugins.readers.encoder import MISSING_ID, OOV_ID, DenseCode, Encoder, SparseCode
from nid_plugins.readers.files import read_raw, read_table
from nid_plugins.readers.splits import split_by_order, split_stratified

__all__ = [
    "MISSING_ID",
    "OOV_ID",
    "Clicks",
    "DenseCode",
    "EncodedClicks",
    "Encoder",
    "SparseCode",
    "read_clicks",
    "read_raw",
    "read_table",
    "split_by_order",
    "split_stratified",
]
