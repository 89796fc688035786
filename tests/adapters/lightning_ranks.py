"""One of the processes of a distributed training run; started by the tests beside it, twice, with its rank.

Usage: ``lightning_ranks.py SCENARIO DIRECTORY``; what it finds goes to ``DIRECTORY/<rank>.pt``.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import nid_plugins as nid

sys.path.insert(0, str(Path(__file__).parent))
import lightning_modules as lm  # found where this file is
from lightning.pytorch.callbacks import ModelCheckpoint
from nid_lightning.callbacks import CrossInjector, InteractionMonitor
from nid_lightning.ranks import Ranks
from torch.utils.data import DistributedSampler

RANK = int(os.environ.get("LOCAL_RANK", "0"))
DETECT = {"instances": 30, "perturbations": 200}


def log():
    """Return frame, label and schema, with an interaction of site and item."""
    rng = np.random.default_rng(11)
    n = 800
    frame = {
        "site": rng.integers(0, 6, n),
        "price": rng.lognormal(size=n).astype(np.float32),
        "item": rng.integers(0, 12, n),
        "hour": rng.integers(0, 4, n),
    }
    logit = 4.0 * ((frame["site"] + frame["item"]) % 2) - 2.0
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    fields = [nid.SparseField("site", 6), nid.DenseField("price")]
    return (
        frame,
        label,
        nid.FeatureSchema([*fields, nid.SparseField("item", 12), nid.SparseField("hour", 4)]),
    )


def injector(frame=None, **options):
    own, label, schema = log()
    options = {"after": 2, "wrap": {"output": "probability"}, "detect": DETECT, **options}
    return CrossInjector(schema, own, label, own if frame is None else frame, label, **options)


def made(**options):
    return lm.made(seeded=True, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5), **options)


def train(
    callbacks,
    *,
    devices=2,
    strategy="ddp",
    size=50,
    plain=False,
    epochs=5,
    module=None,
    root=None,
    resume=None,
    **options,
):
    """Train a module on the log; return it and the warnings of ours."""
    frame, label, schema = log()
    rows = np.column_stack([frame[name] for name in schema.names])
    module = module or made(plain=plain)
    used = lm.trainer(
        epochs=epochs,
        callbacks=callbacks,
        devices=devices,
        strategy=strategy if devices > 1 else "auto",
        root=root,
        use_distributed_sampler=not plain,
        enable_checkpointing=any(isinstance(one, ModelCheckpoint) for one in callbacks),
        **options,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Batch i of both ranks together is batch i of one process.
        own = DistributedSampler(label, devices, RANK, shuffle=False) if plain and devices > 1 else None
        lm.fit(used, module, lm.loader(rows, label, size=size, sampler=own), ckpt_path=resume)
    ours = [str(w.message) for w in caught if issubclass(w.category, nid.errors.NidWarning)]
    return module, used, ours


def found(callback, module, used, ours):
    return {
        "status": callback.core.status,
        "crosses": None if callback.core.crosses is None else callback.core.crosses.names,
        "weights": dict(module.state_dict()),
        "groups": [len(group["params"]) for group in used.optimizers[0].param_groups],
        "rates": module.rates,
        "losses": module.losses,
        "warnings": ours,
    }


def main(directory):
    """Everything that ends well, one after the other in one process group."""
    results = {}
    frame, label, schema = log()

    monitor = InteractionMonitor(schema, frame, label, budget=None, detect=DETECT)
    own, kept = injector(), ModelCheckpoint(directory / "kept", filename="{epoch}", save_top_k=-1)
    results["trained"] = found(own, *train([own, monitor, kept], root=directory))
    results["trained"]["checks"] = len(monitor.history)

    for epoch in (0, 3):
        own, fresh = injector(), made(seed=5)
        path = directory / "kept" / f"epoch={epoch}.ckpt"
        results[f"resumed {epoch}"] = found(own, *train([own], module=fresh, root=directory, resume=path))

    own = injector()
    results["accumulated"] = found(own, *train([own], root=directory, accumulate_grad_batches=2))

    own = injector(max_crosses=1)
    results["plain"] = found(own, *train([own], plain=True, root=directory))

    own = injector(max_crosses=1)
    results["alone"] = found(own, *train([own], plain=True, root=directory, devices=1, size=100))

    own = injector()
    strategy = "ddp_find_unused_parameters_true"
    results["unused parameters"] = found(own, *train([own], root=directory, strategy=strategy))

    try:
        train([injector(frozen=True)], root=directory)
    except nid.errors.UnsupportedError as error:
        results["frozen"] = type(error).__name__

    # Only rank 0 looks at these rows; they are out of range by the time it does.
    own = injector()
    own.core.chooser._valid = {**frame, "site": frame["site"] + 100}
    results["rank 0 fails"] = found(own, *train([own], root=directory))

    own, module = injector(), made()
    if RANK == 1:
        module.nid_names = "taken"
    results["rank 1 fails"] = found(own, *train([own], module=module, root=directory))

    ranks = Ranks.of(lm.trainer(devices=2, strategy="ddp", root=directory))
    try:
        ranks.from_first(interrupted)
    except BaseException as error:  # noqa: BLE001 - told to the test
        results["interrupted"] = type(error).__name__
    return results


def interrupted():
    raise KeyboardInterrupt


class Dies:
    """A plug-in that ends the process in the middle of a detection."""

    @nid.hookimpl
    def nid_before_detect(self, request):
        os._exit(3)


def dying(directory):
    nid.get_manager().register(Dies(), "dies")
    train([injector()], root=directory)
    return {}


if __name__ == "__main__":
    torch.save(
        {"main": main, "dying": dying}[sys.argv[1]](Path(sys.argv[2])), Path(sys.argv[2]) / f"{RANK}.pt"
    )
