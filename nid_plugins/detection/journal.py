"""A journal of finished instances, so that a killed detection goes on where it stopped.

One JSON object a line. The first line says what the journal belongs to; each other line holds one instance. A line cut
short by a kill is dropped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import ArtefactError

if TYPE_CHECKING:
    from io import TextIOWrapper

    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.masks import Floats

FORMAT = "nid-plugins/detection-journal"
VERSION = 1


@dataclass(slots=True)
class InstanceResult:
    """What one instance contributed.

    Args:
        index: Position among the instances.
        sets: Its sets.
        strengths: Their strengths.
        gains: Held-out R^2 each added; NaN where sets were not selected by gain.
        r2: Held-out R^2 of the explainer.
        r2_linear: Held-out R^2 of the main effects alone.
        pairs: Upper triangle of the pair strengths as float32, or None.
        saturated: Predictions the clip changed.
    """

    index: int
    sets: list[Members]
    strengths: list[float]
    gains: list[float]
    r2: float
    r2_linear: float
    pairs: np.ndarray | None
    saturated: int

    def to_json(self) -> str:
        """Return one line of JSON."""
        pairs = self.pairs
        return json.dumps(
            {
                "index": self.index,
                "sets": [list(map(int, m)) for m in self.sets],
                "strengths": self.strengths,
                "gains": [_null(g) for g in self.gains],
                "r2": _null(self.r2),
                "r2_linear": _null(self.r2_linear),
                "pairs": None if pairs is None else base64.b64encode(pairs.astype("<f4").tobytes()).decode(),
                "saturated": self.saturated,
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, spec: dict[str, Any]) -> InstanceResult:
        """Read what :meth:`to_json` wrote."""
        packed = spec["pairs"]
        return cls(
            spec["index"],
            [tuple(m) for m in spec["sets"]],
            spec["strengths"],
            [_nan(g) for g in spec["gains"]],
            _nan(spec["r2"]),
            _nan(spec["r2_linear"]),
            None if packed is None else np.frombuffer(base64.b64decode(packed), "<f4"),
            spec["saturated"],
        )


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def fingerprint(settings: dict[str, Any], schema: dict[str, Any], *arrays: Floats) -> str:
    """Return a digest of everything a result depends on but the model."""
    digest = hashlib.sha256(json.dumps([settings, schema], sort_keys=True, default=str).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Journal:
    """Appends finished instances to a file and gives back those of an earlier run.

    Args:
        path: The file; made when absent.
        print_: :func:`fingerprint` of the detection.
        probe: Logits of a few instances, to tell whether the model is still the same.

    Raises:
        ArtefactError: The file is no journal, or belongs to another detection or another model.
    """

    def __init__(self, path: str | os.PathLike[str], print_: str, probe: Floats) -> None:
        self.path = Path(path)
        self.done: dict[int, InstanceResult] = {}
        header = {"format": FORMAT, "version": VERSION, "fingerprint": print_, "probe": probe.tolist()}
        if self.path.exists() and self.path.stat().st_size:
            good = self._read(header)
            self._file = self._open("r+")
            self._file.truncate(good)  # a line cut short would swallow the next one
            self._file.seek(0, os.SEEK_END)
        else:
            self._file = self._open("w")
        if not self.path.stat().st_size:
            self._write(json.dumps(header))

    def _open(self, mode: str) -> TextIOWrapper:
        try:
            return self.path.open(mode, encoding="utf-8", newline="\n")  # type: ignore[return-value]
        except OSError as error:
            raise ArtefactError(
                f"the journal cannot be written: {error}", received=str(self.path), expected="a writable file"
            ) from error

    def _read(self, header: dict[str, Any]) -> int:
        good = 0
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise ArtefactError(f"the journal cannot be read: {error}", received=str(self.path)) from error
        for number, line in enumerate(lines[:-1]):  # what follows the last newline was cut short
            try:
                spec = json.loads(line)
                if number == 0:
                    self._check(spec, header)
                else:
                    result = InstanceResult.from_json(spec)
                    self.done[result.index] = result
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, ArtefactError):
                    raise
                if number == 0:
                    raise self._foreign() from error
                raise ArtefactError(
                    f"line {number + 1} of the journal is damaged",
                    received=str(self.path),
                    expected="a journal written by nid.detect(resume=...)",
                    hint="Remove the file to start afresh",
                ) from error
            good += len(line) + 1
        # Without a whole line there is nothing to go on from; what is there is overwritten only if it was our header.
        start = json.dumps({"format": FORMAT})[:-1].encode()
        if not good and lines[-1][: len(start)] != start[: len(lines[-1])]:
            raise self._foreign()
        return good

    def _foreign(self) -> ArtefactError:
        return ArtefactError(
            "not a journal",
            received=str(self.path),
            expected="a file written by nid.detect(resume=...)",
            hint="Name another file; this one is left untouched",
        )

    def _check(self, found: Any, header: dict[str, Any]) -> None:
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise self._foreign()
        if found.get("version", 0) > VERSION:
            raise ArtefactError(
                "the journal was written by a newer version",
                received=found["version"],
                expected=f"at most {VERSION}",
                hint="Upgrade nid-plugins or remove the file",
            )
        if found.get("fingerprint") != header["fingerprint"]:
            raise ArtefactError(
                "the journal belongs to a detection with other rows, background or settings",
                received=str(self.path),
                hint="Repeat the call exactly as it was, or name another file",
            )
        if not np.allclose(found.get("probe", []), header["probe"], rtol=1e-4, atol=1e-4):
            raise ArtefactError(
                "the journal belongs to another model: its logits differ",
                received=str(self.path),
                hint="Resume with the same weights, or name another file",
            )

    def _write(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise ArtefactError(f"the journal cannot be written: {error}", received=str(self.path)) from error

    def add(self, result: InstanceResult) -> None:
        """Append a finished instance."""
        self._write(result.to_json())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
