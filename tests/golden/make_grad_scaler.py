"""Freezes what torch.amp.GradScaler does to the scale, the parameter and its own count.

    python -m tests.golden.make_grad_scaler      # from the repository root

The program is torch 2.13.0 (BSD-3-Clause).
"""

import json

import numpy as np
import torch

from tests.golden import HERE

STEPS = 60
CASES = [
    {"init_scale": 2.0**16, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000},
    {"init_scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3},
    {"init_scale": 1024.0, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 5},
    {"init_scale": 64.0, "growth_factor": 1.5, "backoff_factor": 0.75, "growth_interval": 1},
]


def frozen(settings: dict, overflows: list[bool], slopes: list[float]) -> dict:
    """SGD with momentum on one number, through a scaler, with gradients that are given."""
    param = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([param], lr=0.1, momentum=0.5)
    scaler = torch.amp.GradScaler("cpu", **settings)
    scaler.scale(torch.zeros(1))
    scales, counts, params = [], [], []
    for bad, slope in zip(overflows, slopes, strict=True):
        optimizer.zero_grad()
        scaler.scale(slope * param.sum()).backward()
        if bad:
            param.grad[0] = np.inf
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        counts.append(int(scaler._get_growth_tracker()))
        params.append(float(param.detach()[0]))
    return {"settings": settings, "scale": scales, "good_steps": counts, "params": params}


def main() -> None:
    random = np.random.default_rng(8)
    overflows = (random.random(STEPS) < 0.25).tolist()
    slopes = random.standard_normal(STEPS).astype(np.float32).tolist()
    report = {
        "made_with": f"torch {torch.__version__}",
        "overflows": overflows,
        "slopes": slopes,
        "cases": [frozen(settings, overflows, slopes) for settings in CASES],
    }
    (HERE / "grad_scaler.json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
