"""Freeze SAM and ASAM around SGD: pytorch-optimizer 4.1.0 (Apache-2.0), torch 2.13.0, CPU.

    python -m tests.golden.make_sam        # from the repository root: sam.json

Float64, in which it is made to take the norm as well, on f(x) = Σ a (x − c)² / 2 + x⁴ / 8 over two
arrays, whose gradient each step takes twice.
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path

import torch
from pytorch_optimizer import SAM

RANDOM = random.Random(11)
START, SLOPES, CENTRES = ([[RANDOM.gauss(0, 1) for _ in range(n)] for n in (4, 3)] for _ in "abc")
CASES = {"sam": (0.05, False), "sam-far": (0.8, False), "asam": (0.5, True)}


def loss(params: list) -> torch.Tensor:
    terms = zip(params, SLOPES, CENTRES, strict=True)
    return sum(
        (torch.tensor(a, dtype=x.dtype).abs() * (x - torch.tensor(c, dtype=x.dtype)) ** 2).sum() / 2
        + (x**4).sum() / 8
        for x, a, c in terms
    )


def path(rho: float, adaptive: bool) -> list[list[list[float]]]:
    params = [torch.nn.Parameter(torch.tensor(x, dtype=torch.float64)) for x in START]
    base = {"lr": 0.1, "momentum": 0.9}
    optimizer = SAM(params, torch.optim.SGD, rho=rho, adaptive=adaptive, perturb_eps=0.0, **base)
    found = []
    for _ in range(20):
        loss(params).backward()
        optimizer.first_step(zero_grad=True)
        loss(params).backward()
        optimizer.second_step(zero_grad=True)
        found.append([x.tolist() for x in params])
    return found


if __name__ == "__main__":
    torch.float32, torch.Tensor.float = torch.float64, torch.Tensor.double  # those of the norm
    made = {name: version(name) for name in ("pytorch-optimizer", "torch")}
    made |= {"start": START, "slopes": SLOPES, "centres": CENTRES}
    made["cases"] = {
        name: {"rho": rho, "adaptive": adaptive, "path": path(rho, adaptive)}
        for name, (rho, adaptive) in CASES.items()
    }
    Path(__file__).with_name("sam.json").write_text(json.dumps(made) + "\n")
