"""Freeze trajectories of timm 1.0.31 (Apache-2.0) with torch 2.13.0 on the CPU, in float64.

    python -m tests.golden.make_timm        # from the repository root: timm.npz and timm.json

A call of funcopt is written as it stands after `from funcopt import *`. A rate that changes does
so by a half, which is exact in every precision, and after step 12.
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write

CHANGE = 12


def case(name: str, optimizer: str, settings: dict, call: str, *, halved=False, **more) -> Case:
    lr = settings["lr"]
    rate = f"piecewise_constant_schedule({lr}, {{{CHANGE}: 0.5}})" if halved else str(lr)
    record = {
        "factory": call.partition("(")[0],
        "kwargs": {"learning_rate": lr},
        "call": call.replace("LR", rate),
    }
    schedule = {"halved": CHANGE} if halved else {}
    return Case(name, optimizer, settings, record, schedule=schedule, **more)


def cases():
    adam = {"lr": 0.05, "eps": 1e-8, "weight_decay": 0.0}
    yield case("cautious-adam", "adamw", {**adam, "caution": True}, "cautious(adam(LR))")
    yield case(
        "cautious-adam-decay", "adamw", {**adam, "weight_decay": 0.25, "caution": True},
        "chain(cautious(adam(LR)), add_decayed_weights(-0.05 * 0.25))",
    )  # fmt: skip
    yield case(
        "cautious-adam-betas", "adamw", {**adam, "betas": [0.7, 0.9], "caution": True},
        "cautious(adam(LR, b1=0.7, b2=0.9))", problem="quadratic",
    )  # fmt: skip
    corrected = {**adam, "weight_decay": 0.5, "corrected_weight_decay": True}
    yield case(
        "adamc", "adamw", corrected,
        "adamw(LR, weight_decay=decays.corrected(0.5, 0.05))", halved=True,
    )  # fmt: skip
    mars = {"lr": 0.05, "optimize_1d": True}
    yield case(
        "mars-adamw", "mars", {**mars, "weight_decay": 0.1},
        "chain(mars(0.025, b1=0.9), adamw(LR, b2=0.99, weight_decay=0.1))",
    )  # fmt: skip
    yield case(
        "mars-adamw-gamma", "mars", {**mars, "gamma": 0.2, "betas": [0.95, 0.9]},
        "chain(mars(0.2, b1=0.95), adamw(LR, b1=0.95, b2=0.9, weight_decay=0.0))",
        problem="quadratic",
    )  # fmt: skip


def made(frozen_case: Case, params: list):
    from timm.optim.adamw import AdamWLegacy
    from timm.optim.mars import Mars

    kinds = {"adamw": AdamWLegacy, "mars": Mars}
    return kinds[frozen_case.optimizer](params, **frozen_case.settings)


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = made(frozen_case, params)
    path, rates = {leaf: [] for leaf, _, _ in given}, []
    for index in range(STEPS):
        if frozen_case.schedule and index == CHANGE:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        rates.append(optimizer.param_groups[0]["lr"])
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    frozen = [(each, "float64", *run(each, "float64")) for each in cases()]
    programs = ", ".join(f"{name} {version(name)}" for name in ("timm", "torch"))
    write("timm", f"{programs}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
