"""The explainer as the paper's code trains it: one instance after the other, in PyTorch.

Written from the published hyper-parameters (Tsang et al. 2020): an MLP of 256-128-64 ReLU units, L1 penalty 1e-4 on all
weights, Adam with learning rate 0.01, minibatches of 100 rows in a fixed order, at most 100 epochs, stopping when the
validation error has not improved for more than 5 epochs; 5,000/500/500 masks to train, validate and test.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import nn

from nid_plugins.detection.detector import Explanation
from nid_plugins.detection.masks import Floats, MaskDesign, r_squared
from nid_plugins.detection.nid import read_pairs, read_sets


def explain_one(design: MaskDesign, target: Floats, seed: int) -> Explanation:
    """Fit one instance's network and read its interactions."""
    torch.manual_seed(seed)
    x = torch.from_numpy(design.masks.astype(np.float32))
    centre, scale = target[design.train].mean(), max(float(target[design.train].std()), 1e-12)
    y = torch.from_numpy(((target - centre) / scale).astype(np.float32))[:, None]
    widths = (x.shape[1], 256, 128, 64, 1)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    best, lowest, waited = copy.deepcopy(network.state_dict()), np.inf, 0
    x_train, y_train = x[design.train], y[design.train]
    for _ in range(100):
        for start in range(0, len(x_train), 100):
            loss = nn.functional.mse_loss(network(x_train[start : start + 100]), y_train[start : start + 100])
            loss = loss + 1e-4 * sum(w.abs().sum() for w in weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            error = float(nn.functional.mse_loss(network(x[design.valid]), y[design.valid]))
        if error < lowest:
            best, lowest, waited = copy.deepcopy(network.state_dict()), error, 0
        else:
            waited += 1
            if waited > 5:
                break
    network.load_state_dict(best)
    with torch.no_grad():
        fitted = network(x[design.test])[:, 0].numpy().astype(np.float64) * scale + centre
    arrays = [w.detach().numpy().astype(np.float64).T for w in weights]
    sets, strengths = read_sets(arrays)
    test = target[design.test]
    return Explanation(
        sets, strengths * scale, float(r_squared(test, test - fitted)), read_pairs(arrays) * scale
    )
