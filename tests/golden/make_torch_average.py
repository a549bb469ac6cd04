"""Freeze averages of torch.optim.swa_utils.AveragedModel: torch 2.13.0 (BSD-3-Clause), CPU.

    python -m tests.golden.make_torch_average    # from the repository root: torch_average.json

SGD on fixed gradients in float64, `update_parameters` after each step, or some; the average after
each from its first point on.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

RANDOM = random.Random(5)
START = [RANDOM.gauss(0, 1) for _ in range(4)]
GRADS = [[RANDOM.gauss(0, 1) for _ in START] for _ in range(25)]
MEANS = {
    "ema": get_ema_multi_avg_fn(0.9),
    "mean": get_swa_multi_avg_fn(),
    "swa": get_swa_multi_avg_fn(),
}
TAKEN = {"swa": range(8, 26, 3)}  # after step 5 every third, as its guide of SWA does


def path(name: str) -> list[list[float]]:
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average, found = AveragedModel(model, multi_avg_fn=MEANS[name]), []
    for t, grad in enumerate(GRADS, 1):
        model.w.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        if t in TAKEN.get(name, [t]):
            average.update_parameters(model)
        if average.n_averaged:
            found.append(average.module.w.tolist())
    return found


if __name__ == "__main__":
    made = {"torch": torch.__version__, "start": START, "grads": GRADS}
    file = Path(__file__).with_suffix("").with_name("torch_average.json")
    file.write_text(json.dumps(made | {"paths": {name: path(name) for name in MEANS}}) + "\n")
