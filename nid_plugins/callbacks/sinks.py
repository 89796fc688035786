"""Where checks are written besides the history: JSON lines, TensorBoard, MLflow.

A sink opens what it writes to at its first check, so that nothing is left behind by a run without one, and what is
missing or full is found while training, where it is said once and left at that.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, Protocol

from nid_plugins.errors import ArtefactError, MissingExtraError, SettingError
from nid_plugins.paths import as_path

if TYPE_CHECKING:
    from pathlib import Path

    from nid_plugins.callbacks.record import Check

WRITERS = ("auto", "torch", "tensorflow")


class Sink(Protocol):
    """What a monitor writes its checks to. Both methods may raise: it is said once, and training goes on."""

    def write(self, check: Check) -> object:
        """Write a check, so that it is kept whatever happens to the process afterwards."""

    def close(self) -> object:
        """Training has ended; there may be another :meth:`write` when it goes on."""


class JsonLinesSink:
    """One JSON object a check and line, as :meth:`Check.to_dict` has it. What is written survives a kill of the process.

    A file that exists is appended to.

    Args:
        path: The file.
        report: Whether to write the whole report of each check: fit of every instance, strengths of all pairs.

    Raises:
        SettingError: ``path`` is not a path.
    """

    def __init__(self, path: str | os.PathLike[str], *, report: bool = False) -> None:
        self.path: Path = as_path(path, "a file of JSON lines")
        self.report = report
        self._file: int | None = None

    def write(self, check: Check) -> None:
        """Append a line and force it to the disk, whole or not at all.

        Raises:
            ArtefactError: The file cannot be written.
        """
        line = (json.dumps(check.to_dict(report=self.report), allow_nan=False) + "\n").encode()
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._append(self._file, line)
        except OSError as error:
            raise ArtefactError(f"a check cannot be written: {error}", received=str(self.path)) from error

    @staticmethod
    def _append(file: int, line: bytes) -> None:
        status = os.fstat(file)
        regular = stat.S_ISREG(status.st_mode)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            if regular:
                os.fsync(file)
        except OSError:
            if regular:  # a line cut short would swallow the next one
                with contextlib.suppress(OSError):
                    os.ftruncate(file, status.st_size)
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


class TensorBoardSink:
    """Curves for TensorBoard: fit, drift, and share, strength and gain of what is in the ranking, and the ranking as text.

    The x-axis is the step where the training loop tells of steps, else the epoch.

    Args:
        directory: The log directory of the run.
        writer: Whose event writer: ``"torch"`` (needs the package ``tensorboard``), ``"tensorflow"``, or ``"auto"``: that
            of the framework in use.
        top: Interactions that have curves, from the top of each ranking.

    Raises:
        SettingError: An option is out of its domain.
    """

    def __init__(self, directory: str | os.PathLike[str], writer: str = "auto", *, top: int = 10) -> None:
        if writer not in WRITERS:
            raise SettingError("unknown writer", received=repr(writer), expected=f"one of {WRITERS}")
        self.directory: Path = as_path(directory, "a log directory")
        self.writer = writer
        self.top = top
        self._events: _TorchEvents | _TensorFlowEvents | None = None

    def write(self, check: Check) -> None:
        """Write the numbers and the ranking, and flush.

        Raises:
            MissingExtraError: The writer's package is not installed.
        """
        if self._events is None:
            self._events = self._open()
        self._events.write(scalars_of(check, self.top), _table(check), check.step or check.epoch)

    def _open(self) -> _TorchEvents | _TensorFlowEvents:
        order = [self.writer]
        if self.writer == "auto":
            # Whatever is loaded is the framework in use; the other one is not imported for its writer unless it must be.
            order = sorted(("torch", "tensorflow"), key=lambda name: name not in sys.modules)
        problems = []
        for name in order:
            try:
                return (_TorchEvents if name == "torch" else _TensorFlowEvents)(str(self.directory))
            except ImportError as error:
                problems.append(f"{name}: {error}")
        raise MissingExtraError(
            "there is nothing to write TensorBoard's files with",
            received="; ".join(problems),
            hint="pip install 'nid-plugins[tensorboard]' (PyTorch's writer), or install TensorFlow",
        )

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:
            events, self._events = self._events, None
            events.close()


class _TorchEvents:
    def __init__(self, directory: str) -> None:
        self._writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(directory)

    def write(self, scalars: dict[str, float], text: str, step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.add_text("interactions/ranking", text, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _TensorFlowEvents:
    """Written with the parts of ``tf.summary`` that do without the package ``tensorboard``."""

    def __init__(self, directory: str) -> None:
        self._tf: Any = importlib.import_module("tensorflow")
        self._proto: Any = importlib.import_module("tensorflow.core.framework.summary_pb2")
        self._writer: Any = self._tf.summary.create_file_writer(directory)

    def write(self, scalars: dict[str, float], text: str, step: int) -> None:
        tf = self._tf
        # On the CPU and outside of any graph: nothing of this may touch how the model is run.
        with tf.init_scope(), tf.device("CPU:0"), self._writer.as_default():
            for name, value in scalars.items():
                tf.summary.write(
                    name, tf.constant(value, tf.float32), step=step, metadata=self._metadata("scalars")
                )
            tf.summary.write(
                "interactions/ranking",
                tf.constant([text.encode()], tf.string),
                step=step,
                metadata=self._metadata("text"),
            )
        self._writer.flush()

    def _metadata(self, plugin: str) -> Any:
        metadata = self._proto.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin
        kinds = {"scalars": self._proto.DATA_CLASS_SCALAR, "text": self._proto.DATA_CLASS_TENSOR}
        metadata.data_class = kinds[plugin]
        return metadata

    def close(self) -> None:
        self._writer.close()


class MLflowSink:
    """The same numbers as metrics of an MLflow run: the active one, else one that is started and ended here.

    Args:
        run_id: A run to write to, whichever is active.
        top: Interactions that have metrics, from the top of each ranking.
    """

    def __init__(self, run_id: str | None = None, *, top: int = 10) -> None:
        self.run_id = run_id
        self.top = top
        self._run_id: str | None = None
        self._own = False

    def write(self, check: Check) -> None:
        """Log the metrics; each name is that of TensorBoard's curve, with characters MLflow refuses replaced by ``_``.

        Raises:
            MissingExtraError: MLflow is not installed.
        """
        try:
            mlflow: Any = importlib.import_module("mlflow")
        except ImportError as error:
            raise MissingExtraError(
                "MLflow is not installed", received=str(error), hint="pip install 'nid-plugins[mlflow]'"
            ) from error
        metrics = {re.sub(r"[^\w\-. /]", "_", n): v for n, v in scalars_of(check, self.top).items()}
        if self.run_id is None and self._run_id is None:
            active = mlflow.active_run()
            self._own = active is None
            self._run_id = (active or mlflow.start_run()).info.run_id
        mlflow.log_metrics(metrics, step=check.step or check.epoch, run_id=self.run_id or self._run_id)

    def close(self) -> None:
        """End the run if it was started here."""
        self._run_id = None
        if self._own:
            self._own = False
            importlib.import_module("mlflow").end_run()


def scalars_of(check: Check, top: int) -> dict[str, float]:
    """Return the finite numbers of a check by the name of their curve."""
    numbers = {
        "interactions/r2": check.r2,
        "interactions/instances": float(check.instances),
        "interactions/seconds": check.seconds,
    }
    if check.drift is not None:
        numbers["interactions/rank_correlation"] = check.drift.rank_correlation
        numbers["interactions/entered"] = float(len(check.drift.entered))
        numbers["interactions/left"] = float(len(check.drift.left))
    for found in check.report.interactions[:top]:
        name = "__x__".join(found.fields)
        numbers[f"interactions/share/{name}"] = found.share
        numbers[f"interactions/strength/{name}"] = found.strength
    for name, gain in check.gains.items():
        numbers[f"interactions/gain/{name}"] = gain
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _table(check: Check) -> str:
    lines = ["| rank | interaction | share | strength |", "|---|---|---|---|"]
    for rank, found in enumerate(check.report, start=1):
        lines.append(f"| {rank} | {found} | {found.share:.3f} | {found.strength:.3f} |")
    return "\n".join(lines)
