"""Four ways to a model with crosses, or without, on the same rows: by hand and by the CrossInjector.

All four are trained by one loop with one recipe: shuffled batches, learning rates and penalties by kind of weight,
validation log-loss after each epoch, the best weights kept, an end after some epochs without better ones.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nid_torch.injector import CrossInjector
from torch.nn.functional import binary_cross_entropy

import nid_plugins as nid
from benchmarks.lift.models import Shape, build, columns_of
from benchmarks.lift.training import Fit, groups_of, logits_of
from nid_plugins.callbacks import CrossInjector as Chooser

if TYPE_CHECKING:
    from benchmarks.lift.data import Part
    from nid_plugins import CrossFeatures, FeatureSchema

ARMS = ("base", "injected by hand", "rebuilt by hand", "CrossInjector")


@dataclass(frozen=True)
class Recipe:
    """Everything that is the same for all arms.

    Attributes:
        shape: Of the DeepFM.
        fit: How it is trained.
        after: Epochs before the CrossInjector looks.
        options: What is detected, tried and picked, by hand as by the CrossInjector.
        rate: Learning rate of the tower over that of the optimiser's first group.
    """

    shape: Shape
    fit: Fit
    after: int
    options: dict[str, Any] = field(default_factory=dict)
    rate: float = 1.0


@dataclass(frozen=True)
class Rows:
    """The rows of one seed.

    Attributes:
        schema: The fields.
        train: What models are fitted on.
        valid: What decides when to stop and which crosses are taken.
        test: Read once, at the end; None while settings are looked for.
    """

    schema: FeatureSchema
    train: Part
    valid: Part
    test: Part | None

    def frame(self, part: Part) -> dict[str, Any]:
        """Return rows of shape (n, p) as a frame."""
        return {name: part.rows[:, j] for j, name in enumerate(self.schema.names)}


class Training:
    """The loop of all arms.

    Args:
        model: What is trained, in place.
        rows: Training and validation rows.
        recipe: See :class:`Recipe`.
        seed: Of the order of rows and of dropout.
    """

    def __init__(self, model: Any, rows: Rows, recipe: Recipe, seed: int) -> None:
        fit = recipe.fit
        self.model, self._fit, self._seed = model, fit, seed
        self._x, self._xv = (torch.from_numpy(p.rows.astype(np.float32)) for p in (rows.train, rows.valid))
        self._y = torch.from_numpy(rows.train.labels.astype(np.float32))
        self._held = rows.valid.labels
        kind = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[fit.optimiser]
        self.optimiser = kind(groups_of(model, fit), lr=fit.rate)
        self.epochs = 0

    def run(self, injector: CrossInjector | None = None) -> None:
        """Train until validation log-loss stays the same, and leave the model at its best.

        The weights the model comes with count. With an injector the wait begins anew once it has decided.
        """
        generator = torch.Generator().manual_seed(self._seed)
        torch.manual_seed(self._seed)
        best, state, waited = self._error(), copy.deepcopy(self.model.state_dict()), 0
        while self.epochs < self._fit.epochs and waited < self._fit.patience:
            self._epoch(torch.randperm(len(self._y), generator=generator))
            error = self._error()
            waited += 1
            if error < best:
                best, state, waited = error, copy.deepcopy(self.model.state_dict()), 0
            if injector is not None:
                undecided = injector.core.status == "waiting"
                injector.epoch_end(self.epochs)
                waited = 0 if undecided else waited
            self.epochs += 1
        self.model.load_state_dict(state)

    def _epoch(self, order: torch.Tensor) -> None:
        for index in order.split(self._fit.batch):
            self.model.train()
            self.optimiser.zero_grad(set_to_none=True)
            binary_cross_entropy(self.model(self._x[index]).reshape(-1), self._y[index]).backward()
            self.optimiser.step()

    def _error(self) -> float:
        return nid.metrics.log_loss(self._held, logits_of(self.model, self._xv))


def trained(model: Any, rows: Rows, recipe: Recipe, seed: int) -> tuple[Any, int]:
    """Train a model and return it with the number of epochs."""
    training = Training(model, rows, recipe, seed)
    training.run()
    return model, training.epochs


def options_of(rows: Rows, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the arguments of an injector, the shell's and the core's alike."""
    return {
        "schema": rows.schema,
        "train": rows.frame(rows.train),
        "label": rows.train.labels,
        "valid": rows.frame(rows.valid),
        "valid_label": rows.valid.labels,
        "after": recipe.after,
        "seed": seed,
        **recipe.options,
    }


def chosen(model: Any, rows: Rows, recipe: Recipe, seed: int) -> CrossFeatures | None:
    """Return the crosses of a finished model: detected, fitted and screened as the CrossInjector does it."""
    return Chooser(**options_of(rows, recipe, seed)).choose(model)


def rebuilt(crosses: CrossFeatures, rows: Rows, recipe: Recipe, seed: int) -> Any:
    """Return a fresh DeepFM that has the crosses as further fields, initialised as the base's fields are."""
    from deepctr_torch.models import DeepFM

    shape = recipe.shape
    columns = columns_of(rows.schema, shape.dim)

    def builder(linear: Any, deep: Any) -> Any:
        return DeepFM(
            linear,
            deep,
            dnn_hidden_units=shape.hidden,
            dnn_dropout=shape.dropout,
            l2_reg_linear=0.0,
            l2_reg_embedding=0.0,
            init_std=shape.init_std,
            seed=seed,
        )

    return nid.inject(builder, crosses, mode="rebuild", columns=columns)


def measured(model: Any, part: Part) -> dict[str, float]:
    """Return AUC and log-loss on some rows."""
    logits = logits_of(model, torch.from_numpy(part.rows.astype(np.float32)))
    return {
        "auc": nid.metrics.auc(part.labels, logits),
        "log_loss": nid.metrics.log_loss(part.labels, logits),
    }


def run(rows: Rows, recipe: Recipe, seed: int) -> list[dict[str, Any]]:
    """Train all arms and return what they reach. Where no cross is chosen by hand, the arms by hand are the base."""

    def fresh() -> Any:
        return build("DeepFM", rows.schema, seed=seed, shape=recipe.shape)

    base, epochs = trained(fresh(), rows, recipe, seed)
    crosses = chosen(base, rows, recipe, seed)
    models = {"base": (base, epochs, ())}
    names = crosses.names if crosses is not None else ()
    models.update(dict.fromkeys(ARMS[1:3], (base, epochs, ())))
    if crosses is not None:
        tower = {"seed": seed, "l2": 0.0, **recipe.options.get("tower", {})}
        model, more = trained(nid.inject(base, crosses, **tower), rows, recipe, seed)
        models["injected by hand"] = (model, epochs + more, names)
        model, more = trained(rebuilt(crosses, rows, recipe, seed), rows, recipe, seed)
        models["rebuilt by hand"] = (model, epochs + more, names)
    training = Training(fresh(), rows, recipe, seed)
    injector = CrossInjector(
        **options_of(rows, recipe, seed), rate=recipe.rate, l2=recipe.fit.decay_cross / 2
    ).begin(training.model, training.optimiser)
    training.run(injector)
    found = injector.core.crosses
    models["CrossInjector"] = (training.model, training.epochs, () if found is None else found.names)
    return [
        {
            "arm": arm,
            "seed": seed,
            "epochs": models[arm][1],
            "crosses": list(models[arm][2]),
            "valid": measured(models[arm][0], rows.valid),
            **({} if rows.test is None else {"test": measured(models[arm][0], rows.test)}),
        }
        for arm in ARMS
    ]
