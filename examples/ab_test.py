"""An A/B test from two models to a decision: a plain PyTorch model against itself with crosses, on simulated users.

Each request has two candidates; the variant's model picks the one that is shown, and whether it is clicked is drawn from
the simulator's true probability. So the better model really gets more clicks, and the analysis has to find that out.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

import nid_plugins as nid
from nid_plugins.experiment import Design, Guardrail, Metric, ParquetSink, Router, Variant, analyze
from nid_plugins.simulate import simulate

USERS, REQUESTS, CANDIDATES = 3_000, 4, 2
log = simulate(20_000 + USERS * REQUESTS * CANDIDATES, seed=0)
train, online = log.rows(slice(0, 20_000)), log.rows(slice(20_000, None))


class Additive(nn.Module):
    """A weight for each id and each dense value, no interactions."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {f.name: f.cardinality for f in log.schema if isinstance(f, nid.SparseField)}
        self.tables = nn.ModuleDict({name: nn.Embedding(size, 1) for name, size in sizes.items()})
        self.dense = nn.Linear(len(log.schema) - len(sizes), 1)

    def forward(self, columns: dict[str, Tensor]) -> Tensor:
        """Return logits (n, 1)."""
        ids = [table(columns[name].long()) for name, table in self.tables.items()]
        rest = [columns[name].float()[:, None] for name in log.schema.names if name not in self.tables]
        return torch.stack([*ids, self.dense(torch.cat(rest, dim=1))]).sum(0)


def fit(model: nn.Module, epochs: int) -> None:
    """Train on the training rows."""
    data = {name: torch.from_numpy(np.asarray(train.frame[name])) for name in log.schema.names}
    label = torch.from_numpy(train.label.astype(np.float32))[:, None]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(label)).split(512):
            logits = model({name: column[rows] for name, column in data.items()})
            loss = nn.functional.binary_cross_entropy_with_logits(logits, label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


# Two models: the base, and the base with crosses. Real ones come from nid.detect; here the planted sets are taken.
torch.manual_seed(0)
base = Additive()
fit(base, epochs=4)
crosses = nid.fit_crosses([planted.fields for planted in log.planted], train.frame, log.schema, bins=10)
crossed = nid.inject(base, crosses)
fit(crossed, epochs=3)

# The plan, decided before it starts: who gets what, which metric decides, and what must not get worse.
design = Design(
    "crosses-1",
    variants=(Variant("base", 0.5), Variant("crosses", 0.5)),
    primary=Metric.ctr(covariate="covariate"),
    guardrails=(Guardrail(Metric.calibration(), worse="up", margin=0.1),),
    mde=0.05,
)
design = design.keep("ab", crosses=crosses)

# Serving. Every answer that is shown is logged; a treatment that fails or is slow is answered by the base.
rng = np.random.default_rng(0)
probability = 1 / (1 + np.exp(-online.logit))
users = np.repeat(rng.permutation(np.repeat(np.arange(USERS), REQUESTS)), CANDIDATES)
clicked = []
with Router(
    design,
    {"base": base, "crosses": crossed},
    log.schema,
    sinks=[ParquetSink("ab/exposures")],
    covariate=True,
    wrap={"output": "logit"},
) as router:
    for start in range(0, len(users), 100 * CANDIDATES):
        rows = slice(start, start + 100 * CANDIDATES)
        candidates = {name: np.asarray(online.frame[name])[rows] for name in log.schema.names}
        answer = router.predict(candidates, users[rows], log=False)
        best = answer.predictions.reshape(-1, CANDIDATES).argmax(axis=1)
        shown = np.arange(len(best)) * CANDIDATES + best
        router.expose(answer, shown)
        clicks = rng.random(len(shown)) < probability[rows][shown]
        clicked += [answer.impressions[i] for i in shown[clicks]]

# Reading: the sample ratio first, then effects, guardrails, a decision.
result = analyze(design, "ab/exposures", {"impression": clicked})
Console(highlight=False).print(result)
result.save("ab/result.json")
result.to_html("ab/result.html")
print("decision:", result.decision, result.variant)
