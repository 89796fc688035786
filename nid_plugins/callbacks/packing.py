"""Crosses as a part of a checkpoint: what their directory would hold, as text that JSON takes."""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Any

from nid_plugins.crosses import CrossFeatures
from nid_plugins.crosses.store import ARRAYS_FILE, SPEC_FILE
from nid_plugins.errors import ArtefactError


def packed_crosses(crosses: CrossFeatures) -> dict[str, str]:
    """Return the files :meth:`CrossFeatures.save` writes, by name, in base64.

    A checkpoint is thus whole without a directory beside it, and safe to read: no pickle, and a checksum.
    """
    with tempfile.TemporaryDirectory() as directory:
        saved = crosses.save(directory)
        return {
            name: base64.b64encode((saved / name).read_bytes()).decode("ascii")
            for name in (SPEC_FILE, ARRAYS_FILE)
        }


def unpacked_crosses(packed: Any) -> CrossFeatures:
    """Return the crosses of :func:`packed_crosses`.

    Raises:
        ArtefactError: They are damaged, or of a newer version.
    """
    if not isinstance(packed, dict) or set(packed) != {SPEC_FILE, ARRAYS_FILE}:
        raise ArtefactError(
            "the checkpoint's crosses are incomplete",
            received=sorted(packed) if isinstance(packed, dict) else type(packed).__name__,
            expected=f"{SPEC_FILE} and {ARRAYS_FILE}",
        )
    with tempfile.TemporaryDirectory() as directory:
        for name, text in packed.items():
            try:
                data = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError, TypeError) as error:
                raise ArtefactError(
                    f"{name} of the checkpoint's crosses is damaged", received=str(error), expected="base64"
                ) from error
            (Path(directory) / name).write_bytes(data)
        return CrossFeatures.load(directory)
