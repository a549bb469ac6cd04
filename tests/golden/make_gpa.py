"""Freeze GPA-AdamW of https://github.com/facebookresearch/optimizers (BSD-3-Clause), commit
f60660661194de26d3ee78bae6d15820ff8e583d, its folder on PYTHONPATH, with torch 2.13.0 on the CPU.

    python -m tests.golden.make_gpa         # from the repository root: gpa.npz and gpa.json

In float64; its moments, and the sum of weights, which it makes in float32, are given to it in
float64. Frozen are the
parameters in training, y. There is no case with decay: that of z moves the average there, which is
recovered from y and z, by η λ (1 − mu_y) / mu_y z at every step, against the paper.
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write

CHANGE = 12


def case(
    name: str, settings: dict, call: str, problem: str = "gradients", doubled: bool = False
) -> Case:
    record = {
        "factory": call.partition("(")[0],
        "kwargs": {"learning_rate": settings["lr"]},
        "call": call,
    }
    schedule = {"doubled": CHANGE} if doubled else {}
    return Case(name, "GPAAdamW", settings, record, problem, schedule)


def cases():
    adam = {"lr": 0.05, "beta1": 0.9, "beta2": 0.999}
    yield case("gpa", adam, "gpa(adam(0.05))")
    yield case(
        "gpa-other", {**adam, "beta1": 0.8, "eval_interp_coeff": 0.8, "train_interp_coeff": 0.9},
        "gpa(adam(0.05, b1=0.8), 0.8, 0.9)", problem="quadratic",
    )  # fmt: skip
    yield case(
        "gpa-heavy-ball", {**adam, "eval_interp_coeff": 0.9, "train_interp_coeff": 1.0},
        "gpa(adam(0.05), 0.9, 1.0)", problem="quadratic",
    )  # fmt: skip
    yield case(
        "gpa-schedule-free",
        {"lr": 0.03125, "iterate_averaging_type": "SCHEDULE_FREE", "train_interp_coeff": 0.9},
        "gpa(adam(piecewise_constant_schedule(0.03125, {12: 2.0})), None, 0.9)",
        problem="quadratic", doubled=True,
    )  # fmt: skip


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch
    from gpa.gpa_adamw import GPAAdamW
    from gpa.gpa_types import IterateAveragingType

    settings = dict(frozen_case.settings)
    kind = settings.pop("iterate_averaging_type", "GPA")
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = GPAAdamW(params, iterate_averaging_type=IterateAveragingType[kind], **settings)
    for p in params:
        optimizer.state[p] = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[params[0]]["weight_sum"] = torch.zeros([], dtype=torch.float64)
    optimizer.train()
    path: dict = {leaf: [] for leaf, _, _ in given}
    rates = []
    for index in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] *= 2 if frozen_case.schedule and index == CHANGE else 1
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
    made_with = f"optimizers f606606, torch {version('torch')}, Python {platform.python_version()}"
    write("gpa", made_with, frozen)


if __name__ == "__main__":
    main()
