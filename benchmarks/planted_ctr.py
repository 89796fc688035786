"""Planted CTR: can the interactions planted in a click log be read off models trained on it?

Simulated logs (17 fields, five planted pairs, two planted triples, Zipf categories, dependent fields). A DeepFM and an
AutoInt of DeepCTR-Torch and a plain MLP are trained on each (Adam, penalised embeddings, best validation weights). A source model can only show what it
learned, so its test AUC stands beside those of the true logit and of the true main effects alone.

Measures, for a ranking of K = 7 (planted) and of 14: recall of the planted sets, exactly as planted. And ``pairs``: of
as many first pairs as there are relevant ones (planted, or inside a planted triple), the share that is relevant; this
one can be compared with rankings of all pairs by their mutual information with the click, by their interaction
information (the pair's less its members'), and with chance.

Run: python -m benchmarks.planted_ctr [--logs 3] [--rows 60000]
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import copy
import itertools
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nid_plugins as nid
from benchmarks.common import RESULTS, write
from nid_plugins.metrics import auc
from nid_plugins.simulate import SimulatedLog, World

Sets = list[frozenset[str]]
INSTANCES = {"least_squares": 300, "archdetect": 300, "nid": 64, "gradient_nid": 64}
PERTURBATIONS = 1500
PATIENCE = 3
BASELINES = ("mode", "oov", "sample", "zero_embedding")


class Network(nn.Module):
    """A plain MLP on embeddings and dense values, taking one matrix."""

    def __init__(self, schema: nid.FeatureSchema, dim: int = 8) -> None:
        super().__init__()
        self.at = [(j, f.cardinality if isinstance(f, nid.SparseField) else 0) for j, f in enumerate(schema)]
        self.tables = nn.ModuleDict({str(j): nn.Embedding(c, dim) for j, c in self.at if c})
        width = sum(dim if c else 1 for _, c in self.at)
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.05)
        self.layers = nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 1) of rows (n, p)."""
        parts = [self.tables[str(j)](x[:, j].long()) if c else x[:, j : j + 1] for j, c in self.at]
        return self.layers(torch.cat(parts, dim=1))


def build(name: str, schema: nid.FeatureSchema, seed: int) -> tuple[nn.Module, bool]:
    """Return a model and whether it returns probabilities."""
    torch.manual_seed(seed)
    if name == "MLP":
        return Network(schema), False
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import AutoInt, DeepFM

    columns = [
        SparseFeat(f.name, f.cardinality, embedding_dim=8)
        if isinstance(f, nid.SparseField)
        else DenseFeat(f.name, 1)
        for f in schema
    ]
    if name == "DeepFM":
        model = DeepFM(
            columns, columns, dnn_hidden_units=(128, 64), l2_reg_embedding=0, init_std=0.05, seed=seed
        )
    else:
        model = AutoInt(
            columns,
            columns,
            att_layer_num=2,
            att_head_num=2,
            dnn_hidden_units=(128, 64),
            l2_reg_embedding=0,
            init_std=0.05,
            seed=seed,
        )
    return model, True


def penalty(model: nn.Module) -> Tensor:
    """Return the squared embeddings; unregularised embeddings memorise rare ids before any interaction is learned."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.embedding_dim > 1]
    return torch.stack([(t**2).sum() for t in tables]).sum()


def train(
    model: nn.Module, probability: bool, data: dict[str, tuple[Tensor, Tensor]], seed: int, epochs: int = 15
) -> int:
    """Train by Adam, keep the weights best on validation, and slow down when a pass does not improve them."""
    loss_of = (
        nn.functional.binary_cross_entropy if probability else nn.functional.binary_cross_entropy_with_logits
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    generator = torch.Generator().manual_seed(seed)
    x, y = data["train"]
    best, lowest, worse, passes = copy.deepcopy(model.state_dict()), np.inf, 0, 0
    while passes < epochs and worse < PATIENCE:
        passes += 1
        model.train()
        for rows in torch.randperm(len(x), generator=generator).split(512):
            loss = loss_of(model(x[rows])[:, 0], y[rows]) + penalty(model) / 512
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            error = float(loss_of(model(data["valid"][0])[:, 0], data["valid"][1]))
        if error < lowest:
            best, lowest = copy.deepcopy(model.state_dict()), error
            continue
        worse += 1
        model.load_state_dict(best)
        for group in optimiser.param_groups:
            group["lr"] *= 0.2
    model.load_state_dict(best)
    return passes


def relevant_pairs(planted: Sets) -> Sets:
    """Return the planted pairs and those inside planted triples."""
    return sorted(
        {frozenset(pair) for members in planted for pair in itertools.combinations(sorted(members), 2)},
        key=sorted,
    )


def score(ranking: Sets, planted: Sets) -> dict[str, float]:
    """Return recall of the planted sets in the top K and 2K, and the share of relevant pairs among the first pairs."""
    relevant = relevant_pairs(planted)
    pairs = [s for s in ranking if len(s) == 2][: len(relevant)]
    triples = [s for s in planted if len(s) > 2]
    k = len(planted)
    return {
        "recall_k": float(np.mean([s in ranking[:k] for s in planted])),
        "recall_2k": float(np.mean([s in ranking[: 2 * k] for s in planted])),
        "recall_triples_2k": float(np.mean([s in ranking[: 2 * k] for s in triples])),
        "pairs": sum(s in relevant for s in pairs) / len(relevant),
    }


def information(log: SimulatedLog) -> dict[str, Sets]:
    """Rank all pairs by mutual information with the click, and by interaction information."""
    coded = {}
    for name, values in log.frame.items():
        dense = values.dtype.kind == "f"
        edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1]) if dense else None
        coded[name] = (values if edges is None else np.searchsorted(edges, values)).astype(np.int64)

    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(log.label) for _ in range(3)]

    def raw(codes: Any, label: Any) -> float:
        joint = np.bincount(codes * 2 + label, minlength=2 * (codes.max() + 1)).reshape(-1, 2) / len(codes)
        expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        some = joint > 0
        return float((joint[some] * np.log(joint[some] / expected[some])).sum())

    def mutual(codes: Any) -> float:
        # Less what shuffled clicks give: the plug-in estimate grows with the number of combinations, and the usual
        # analytic correction fails where most combinations occur once.
        codes = np.unique(codes, return_inverse=True)[1]
        return raw(codes, log.label) - float(np.mean([raw(codes, label) for label in shuffled]))

    single = {name: mutual(codes) for name, codes in coded.items()}
    both = {
        frozenset((a, b)): mutual(coded[a] * (coded[b].max() + 1) + coded[b])
        for a, b in itertools.combinations(coded, 2)
    }
    extra = {pair: value - sum(single[n] for n in pair) for pair, value in both.items()}
    return {
        "mutual information": sorted(both, key=lambda s: -both[s]),
        "interaction information": sorted(extra, key=lambda s: -extra[s]),
    }


def one_log(seed: int, rows: int, detectors: tuple[str, ...] = tuple(INSTANCES)) -> list[dict[str, Any]]:
    """Train the models on one log and read them with detectors, every baseline and pruning."""
    log = World(seed=seed).draw(rows + rows // 2)
    parts = {
        "train": slice(0, rows),
        "valid": slice(rows, rows + rows // 4),
        "test": slice(rows + rows // 4, None),
    }
    matrix = np.stack([log.frame[n].astype(np.float32) for n in log.schema.names], axis=1)
    data = {
        part: (torch.from_numpy(matrix[at]), torch.from_numpy(log.label[at].astype(np.float32)))
        for part, at in parts.items()
    }
    train_log, valid_log, test_log = (log.rows(parts[p]) for p in ("train", "valid", "test"))
    truth = {"auc_truth": test_log.auc_of_truth(), "auc_main_effects": test_log.auc_of_main_effects()}
    records = []
    for name, ranking in information(train_log).items():
        records.append(
            {
                "log": seed,
                "model": "-",
                "method": name,
                "baseline": "-",
                "prune": "-",
                **truth,
                **score(ranking, log.planted_sets),
            }
        )
    for model_name in ("DeepFM", "AutoInt", "MLP"):
        model, probability = build(model_name, log.schema, seed)
        epochs = train(model, probability, data, seed)
        box = nid.wrap(model, log.schema, output="probability" if probability else "logit")
        known = {
            "log": seed,
            "model": model_name,
            "epochs": epochs,
            "auc": auc(test_log.label, box.logits(test_log.frame)),
            **truth,
        }
        for detector, baseline, prune in settings(model_name):
            if detector not in detectors:
                continue
            report = nid.detect(
                box,
                valid_log.frame,
                background=train_log.frame,
                detector=detector,
                baseline=baseline,
                prune=prune,
                instances=INSTANCES[detector],
                perturbations=PERTURBATIONS,
                top_k=136,
                seed=seed,
                progress=False,
            )
            ranking = [frozenset(i.fields) for i in report]
            records.append(
                {
                    **known,
                    "method": detector,
                    "baseline": baseline,
                    "prune": prune,
                    "r2": report.fit_summary()["r2_median"],
                    **score(ranking, log.planted_sets),
                }
            )
        print(f"log {seed}: {model_name} auc {known['auc']:.4f} of {truth['auc_truth']:.4f}", flush=True)
    return records


def settings(model_name: str) -> list[tuple[str, str, str]]:
    """Return the combinations of detector, baseline and pruning to try on a model."""
    baselines = [b for b in BASELINES if b != "zero_embedding" or model_name != "MLP"]
    tried = [(d, b, "gain") for d in INSTANCES for b in baselines]
    return tried + [(d, "mode", p) for d in ("least_squares", "nid") for p in ("paper", "none")]


def chance(logs: int) -> float:
    """Return the expected share of relevant pairs in a random ranking."""
    worlds = [World(seed=s) for s in range(logs)]
    p = len(worlds[0].schema)
    return float(
        np.mean(
            [
                len(relevant_pairs([frozenset(x.fields) for x in w.planted])) / (p * (p - 1) / 2)
                for w in worlds
            ]
        )
    )


def renewed(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of an earlier run with those that were made again in their places.

    Raises:
        RuntimeError: The models are not the same, so that old and new records cannot stand in one table.
    """
    key = ("log", "model", "method", "baseline", "prune")
    new = {tuple(r[name] for name in key): r for r in now}
    aucs = {(r["log"], r["model"]): r["auc"] for r in before if "auc" in r}
    if any(aucs[r["log"], r["model"]] != r["auc"] for r in now if "auc" in r):
        raise RuntimeError("other models than before: run all detectors")
    return [new.get(tuple(r[name] for name in key), r) for r in before]


MEASURES = ("recall_k", "recall_2k", "recall_triples_2k", "pairs")


def models(result: dict[str, Any]) -> str:
    """Return what the models learned as a Markdown table."""
    runs = result["runs"]
    lines = ["| model | test AUC | true logit | true main effects |", "|---|---|---|---|"]
    for model in dict.fromkeys(r["model"] for r in runs if r["model"] != "-"):
        mine = [r for r in runs if r["model"] == model]
        cells = [f"{np.mean([r[key] for r in mine]):.4f}" for key in ("auc", "auc_truth", "auc_main_effects")]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rows(result: dict[str, Any], by: tuple[str, ...]) -> str:
    runs = result["runs"]
    heads = [*by, "recall@7", "recall@14", "triples@14", "pairs", "R^2"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines.append("| chance" + " | -" * (len(by) + 2) + f" | {result['chance_pairs']:.3f} | - |")
    for key in dict.fromkeys(tuple(r[name] for name in by) for r in runs):
        mine = [r for r in runs if tuple(r[name] for name in by) == key]
        cells = [f"{np.mean([r[m] for r in mine]):.3f}" for m in MEASURES]
        fit = f"{np.mean([r['r2'] for r in mine]):.3f}" if "r2" in mine[0] else "-"
        lines.append("| " + " | ".join([*key, *cells, fit]) + " |")
    return "\n".join(lines)


def summary(result: dict[str, Any]) -> str:
    """Return means over models and logs as a Markdown table."""
    return _rows(result, ("method", "baseline", "prune"))


def short(result: dict[str, Any]) -> str:
    """Return the rows of :func:`summary` that tell the story: one baseline, the rivals, and the paper's pruning."""
    wanted = {("sample", "gain"), ("-", "-"), ("mode", "paper")}
    runs = [r for r in result["runs"] if (r["baseline"], r["prune"]) in wanted]
    return summary({**result, "runs": runs})


def table(result: dict[str, Any]) -> str:
    """Return means over the logs, model by model, as a Markdown table."""
    return _rows(result, ("model", "method", "baseline", "prune"))


def main() -> None:
    """Run the benchmark, or print the tables of an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed of the first log")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--show", action="store_true", help="print the tables of the last run")
    parser.add_argument("--out", default="planted_ctr")
    parser.add_argument("--detectors", nargs="*", help="only these; the last run's records of others stay")
    arguments = parser.parse_args()
    if not arguments.show:
        torch.set_num_threads(1)
        runs: list[dict[str, Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            for seed in range(arguments.first, arguments.first + arguments.logs):
                runs += one_log(seed, arguments.rows, tuple(arguments.detectors or INSTANCES))
        if arguments.detectors:
            last = json.loads((RESULTS / f"{arguments.out}.json").read_text("utf-8"))
            runs = renewed(last["runs"], runs)
        write(
            arguments.out,
            {
                "rows": arguments.rows,
                "logs": arguments.logs,
                "perturbations": PERTURBATIONS,
                "instances": INSTANCES,
                "chance_pairs": chance(arguments.logs),
                "runs": runs,
            },
        )
    result = json.loads((RESULTS / f"{arguments.out}.json").read_text("utf-8"))
    print(models(result), summary(result), table(result), sep="\n\n")


if __name__ == "__main__":
    main()
