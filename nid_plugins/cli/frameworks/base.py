"""What ``nid demo`` asks of a framework: a DeepFM on a schema, and one pass of training at a time."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from nid_plugins.adapter import Output
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

Floats = npt.NDArray[np.float64]

EPSILON = 1e-7
"""Probabilities are clipped to ``[EPSILON, 1 - EPSILON]`` before their logarithm is taken."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is built and trained.

    Args:
        dim: Length of an embedding.
        hidden: Widths of the deep part.
        dropout: Its dropout.
        l2: Penalty on embeddings, beside a loss that is a sum over the batch.
        init_std: Of embeddings. The default of DeepCTR and DeepCTR-Torch, 1e-4, leaves products of two embeddings
            without a gradient for the first epochs.
        rate: Learning rate of Adam.
        batch: Rows a step.
        epochs: Most passes over the training rows.
        patience: Times a pass may leave validation log-loss no better. After each, training goes on from the best
            state with smaller steps; then it stops.
    """

    dim: int = 8
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = 0.0
    l2: float = 1.0
    init_std: float = 0.05
    rate: float = 3e-3
    batch: int = 512
    epochs: int = 20
    patience: int = 3


class Fitting(ABC):
    """A model while it is trained in place by Adam: the sum over the batch of the log-loss, and the model's penalty."""

    @abstractmethod
    def epoch(self, order: npt.NDArray[np.int64]) -> None:
        """Make one pass over the training rows.

        Args:
            order: Positions of the rows, shape (n,); taken batch by batch.
        """

    @abstractmethod
    def logits(self, rows: FloatMatrix) -> Floats:
        """Return the model's logits of rows (n, p) in schema order, shape (n,)."""

    @abstractmethod
    def state(self) -> Any:
        """Return a copy of all weights."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Set all weights to a copy taken before."""

    @abstractmethod
    def slower(self, factor: float) -> None:
        """Multiply the learning rate."""


class Framework(ABC):
    """A framework the demo can train a model of.

    Attributes:
        name: As ``--framework`` says it.
        title: As a sentence says it.
        extra: The extra of ``nid-plugins`` that installs it.
        packages: What must be installed.
        output: What its model returns, where that cannot be told by looking at it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    output: ClassVar[Output] = "auto"

    def need(self) -> None:
        """Import the framework, keeping what it says at that off the screen.

        Raises:
            MissingExtraError: It is not installed.
            UnsupportedError: The process has imported it in a way that rules its models out.
        """
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(
                    f"the demo with --framework {self.name} needs {package}",
                    hint=f"pip install 'nid-plugins[{self.extra}]'",
                )
        self._load()

    @abstractmethod
    def _load(self) -> None:
        """Import what is installed."""

    @abstractmethod
    def running(self) -> AbstractContextManager[object]:
        """Return a context for training and prediction on few cores: steps this small gain nothing by more."""

    @abstractmethod
    def deepfm(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
        """Return a fresh DeepFM on all fields of a schema.

        Raises:
            SchemaError: The framework cannot take a field of this name, or these fields.
        """

    @abstractmethod
    def copied(self, model: Any, schema: FeatureSchema, recipe: Recipe) -> Any:
        """Return another DeepFM with the same weights."""

    @abstractmethod
    def fitting(
        self,
        model: Any,
        schema: FeatureSchema,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
    ) -> Fitting:
        """Return the means to train a model, a DeepFM or what crosses made of it.

        Args:
            model: The model; trained in place.
            schema: Its fields.
            rows: Training rows in schema order, shape (n, p).
            clicks: Their clicks, shape (n,).
            recipe: Learning rate and batch.
        """


def imported(package: str) -> Any:
    """Import a package that asks the network for a newer version in a thread, and keep its lines off the screen."""
    before = set(threading.enumerate())
    with contextlib.redirect_stdout(io.StringIO()), _no_warnings_logged():
        module = importlib.import_module(package)
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=2.0)
    return module


@contextlib.contextmanager
def _no_warnings_logged() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
