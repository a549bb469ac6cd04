"""Freeze the rates of torch.optim.lr_scheduler: Python 3.11, torch 2.13.0 (BSD-3-Clause), CPU.

    python -m tests.golden.make_torch_schedules    # from the repository root

Writes torch_schedules.npz and torch_schedules.json. A case under `"progress"` holds the rate (or
the momentum) in force at each step, step 0 first, and the funcopt expression that means the same.
A case under `"plateau"` holds metrics, exact in float32, and the rate after each was reported.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.golden import HERE

STEPS = 1000
RATE = 0.1


class Progress(NamedTuple):
    """A scheduler and the funcopt expression that means the same."""

    name: str
    torch: str
    funcopt: str
    steps: int = STEPS
    quantity: str = "lr"


PROGRESS = [
    Progress(
        "LambdaLR",
        "LambdaLR(optimizer, lambda step: 10 / (10 + step))",
        "inverse_time_decay(0.1, 10, 1.0)",
    ),
    Progress(
        "MultiplicativeLR",
        "MultiplicativeLR(optimizer, lambda step: 0.99)",
        "exponential_decay(0.1, 1, 0.99)",
    ),
    Progress("StepLR", "StepLR(optimizer, 30)", "step_decay(0.1, 30)", 300),
    Progress("StepLR-gamma", "StepLR(optimizer, 100, 0.7)", "step_decay(0.1, 100, 0.7)"),
    Progress(
        "MultiStepLR",
        "MultiStepLR(optimizer, [1, 30, 31, 800], 0.3)",
        "multistep_decay(0.1, [1, 30, 31, 800], 0.3)",
    ),
    Progress(
        "ConstantLR",
        "ConstantLR(optimizer, 0.25, 40)",
        "piecewise_constant_schedule(0.025, {40: 4.0})",
    ),
    Progress("LinearLR", "LinearLR(optimizer, 0.25, 1.0, 333)", "linear_schedule(0.025, 0.1, 333)"),
    Progress(
        "LinearLR-down", "LinearLR(optimizer, 1.0, 0.05, 900)", "linear_schedule(0.1, 0.005, 900)"
    ),
    Progress(
        "ExponentialLR", "ExponentialLR(optimizer, 0.995)", "exponential_decay(0.1, 1, 0.995)"
    ),
    Progress(
        "PolynomialLR",
        "PolynomialLR(optimizer, 777, 1.0)",
        "polynomial_schedule(0.1, 0.0, 1.0, 777)",
    ),
    Progress(
        "PolynomialLR-power",
        "PolynomialLR(optimizer, 900, 2.5)",
        "polynomial_schedule(0.1, 0.0, 2.5, 900)",
    ),
    Progress(
        "CosineAnnealingLR",
        "CosineAnnealingLR(optimizer, 999, 0.001)",
        "cosine_decay_schedule(0.1, 999, 0.01)",
    ),
    Progress(
        "CosineAnnealingLR-wave",
        "CosineAnnealingLR(optimizer, 77, 0.002)",
        "cosine_wave(0.1, 0.002, 77)",
    ),
    Progress(
        "CosineAnnealingWarmRestarts",
        "CosineAnnealingWarmRestarts(optimizer, 70)",
        "cosine_restarts(0.1, 70)",
    ),
    Progress(
        "CosineAnnealingWarmRestarts-doubling",
        "CosineAnnealingWarmRestarts(optimizer, 30, 2, 0.004)",
        "cosine_restarts(0.1, 30, 2, 0.004)",
    ),
    Progress(
        "CosineAnnealingWarmRestarts-tripling",
        "CosineAnnealingWarmRestarts(optimizer, 1, 3)",
        "cosine_restarts(0.1, 1, 3)",
    ),
    Progress("OneCycleLR", "OneCycleLR(optimizer, 0.3, 1000)", "onecycle_schedule(0.3, 1000)"),
    Progress(
        "OneCycleLR-linear",
        'OneCycleLR(optimizer, 0.3, 777, pct_start=0.41, anneal_strategy="linear")',
        "onecycle_schedule(0.3, 777, 0.41, 'linear')",
        777,
    ),
    Progress(
        "OneCycleLR-three-phase",
        "OneCycleLR(optimizer, 0.3, 1000, three_phase=True)",
        "onecycle_schedule(0.3, 1000, three_phase=True)",
    ),
    Progress(
        "OneCycleLR-three-phase-linear",
        'OneCycleLR(optimizer, 0.3, 333, pct_start=0.45, anneal_strategy="linear", '
        "three_phase=True, div_factor=10.0, final_div_factor=100.0)",
        "onecycle_schedule(0.3, 333, 0.45, 'linear', True, 10.0, 100.0)",
        333,
    ),
    Progress(
        "OneCycleLR-momentum",
        "OneCycleLR(optimizer, 0.3, 1000)",
        "onecycle_schedule(0.85, 1000, div_factor=0.85 / 0.95, final_div_factor=1.0)",
        quantity="momentum",
    ),
    Progress("CyclicLR", "CyclicLR(optimizer, 0.001, 0.1, 60)", "cyclic_schedule(0.001, 0.1, 60)"),
    Progress(
        "CyclicLR-uneven",
        "CyclicLR(optimizer, 0.001, 0.1, 60, 25)",
        "cyclic_schedule(0.001, 0.1, 60, 25)",
    ),
    Progress(
        "CyclicLR-triangular2",
        'CyclicLR(optimizer, 0.001, 0.1, 50, 30, mode="triangular2")',
        "cyclic_schedule(0.001, 0.1, 50, 30, 'triangular2')",
    ),
    Progress(
        "CyclicLR-exp_range",
        'CyclicLR(optimizer, 0.001, 0.1, 50, 30, mode="exp_range", gamma=0.9990234375)',
        "cyclic_schedule(0.001, 0.1, 50, 30, 'exp_range', 0.9990234375)",
    ),
    Progress(
        "CyclicLR-momentum",
        "CyclicLR(optimizer, 0.001, 0.1, 50, 30)",
        "cyclic_schedule(0.9, 0.8, 50, 30)",
        quantity="momentum",
    ),
    Progress(
        "SequentialLR",
        "SequentialLR(optimizer, [LinearLR(optimizer, 0.1, 1.0, 50), "
        "CosineAnnealingLR(optimizer, 950)], [50])",
        "warmup(cosine_decay_schedule(0.1, 950), 50, init_value=0.01)",
    ),
    Progress(
        "SequentialLR-three",
        "SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 1000), StepLR(optimizer, "
        "40, 0.5), ExponentialLR(optimizer, 0.99)], [100, 300])",
        "join_schedules([constant_schedule(0.05), step_decay(0.1, 40, 0.5), "
        "exponential_decay(0.1, 1, 0.99)], [100, 300])",
    ),
    Progress(
        "ChainedScheduler",
        "ChainedScheduler([ConstantLR(optimizer, 0.5, 20), ExponentialLR(optimizer, 0.99)])",
        "piecewise_constant_schedule(0.05, {20: 2.0}) * exponential_decay(1.0, 1, 0.99)",
    ),
    Progress(
        "ChainedScheduler-warmup",
        "ChainedScheduler([LinearLR(optimizer, 0.01, 1.0, 100), PolynomialLR(optimizer, 900)])",
        "linear_schedule(0.01, 1.0, 100) * polynomial_schedule(0.1, 0.0, 1.0, 900)",
    ),
]


def loss(steps: np.ndarray) -> np.ndarray:
    """A noisy loss that falls, and stays flat from half of the run on."""
    noise = np.random.default_rng(7).normal(size=len(steps))
    return np.exp(-np.minimum(steps, 100) / 30) + 0.1 + 0.02 * noise


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "loss": loss,
    "accuracy": lambda steps: 1.2 - loss(steps),
    "log-likelihood": lambda steps: loss(steps) - 3.0,
    "negative-score": lambda steps: -2.0 - loss(steps),
    "flat": lambda steps: np.full(len(steps), 0.5),
    "rising": lambda steps: 1 + 0.01 * steps,
}
# The metric, and the arguments of ReduceLROnPlateau.
PLATEAUS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("loss", {}),
    "flat": ("flat", {"factor": 0.5, "patience": 4}),
    "rising": ("rising", {"factor": 0.7, "patience": 0}),
    "rel": ("loss", {"factor": 0.5, "patience": 3, "threshold": 0.02}),
    "abs": ("loss", {"factor": 0.5, "patience": 3, "threshold": 0.01, "threshold_mode": "abs"}),
    "cooldown": ("loss", {"factor": 0.5, "patience": 3, "threshold": 0.01, "cooldown": 7}),
    "min-lr": ("loss", {"factor": 0.3, "patience": 2, "min_lr": 0.004}),
    "max-rel": ("accuracy", {"mode": "max", "factor": 0.5, "patience": 5, "threshold": 0.01}),
    "max-abs": (
        "accuracy",
        {
            "mode": "max",
            "factor": 0.5,
            "patience": 5,
            "threshold": 0.005,
            "threshold_mode": "abs",
            "cooldown": 3,
        },
    ),
    "negative-abs": (
        "log-likelihood",
        {"factor": 0.5, "patience": 4, "threshold": 0.01, "threshold_mode": "abs"},
    ),
    "negative-max-abs": (
        "negative-score",
        {
            "mode": "max",
            "factor": 0.5,
            "patience": 4,
            "threshold": 0.01,
            "threshold_mode": "abs",
            "min_lr": 0.002,
        },
    ),
    "negative-rel": ("log-likelihood", {"factor": 0.5, "patience": 4, "threshold": 0.01}),
}
PLATEAU_STEPS = 200


def sgd_with_momentum(torch: Any) -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE, momentum=0.9)


def in_force(torch: Any, case: Progress) -> list[float]:
    sgd = sgd_with_momentum(torch)
    scheduler = eval(case.torch, {**vars(torch.optim.lr_scheduler), "optimizer": sgd})
    values = []
    for step in range(case.steps):
        values.append(float(sgd.param_groups[0][case.quantity]))
        sgd.step()
        if step + 1 < case.steps:
            scheduler.step()
    return values


def after_each(torch: Any, metrics: np.ndarray, settings: dict[str, Any]) -> list[float]:
    sgd = sgd_with_momentum(torch)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, **settings)
    values = []
    for metric in metrics:
        scheduler.step(float(metric))
        values.append(float(sgd.param_groups[0]["lr"]))
    return values


def main() -> None:
    import torch

    arrays, progress, plateau = {}, [], []
    for case in PROGRESS:
        arrays[f"progress/{case.name}"] = np.asarray(in_force(torch, case), np.float32)
        progress.append(
            {
                "name": case.name,
                "torch": case.torch,
                "quantity": case.quantity,
                "funcopt": case.funcopt,
            }
        )
    steps = np.arange(PLATEAU_STEPS)
    for name, metric in METRICS.items():
        arrays[f"metrics/{name}"] = metric(steps.astype(np.float64)).astype(np.float32)
    for name, (metric, settings) in PLATEAUS.items():
        settings = {**settings, "eps": 0.0}  # else it stops at a rate of 1e-8
        rates = after_each(torch, arrays[f"metrics/{metric}"], settings)
        arrays[f"plateau/{name}"] = np.asarray(rates, np.float32)
        plateau.append({"name": name, "metric": metric, "settings": settings})
    np.savez_compressed(HERE / "torch_schedules.npz", **arrays)
    made_with = f"Python {platform.python_version()}, torch {torch.__version__}"
    rows = {
        key: "[\n" + ",\n".join(json.dumps(row) for row in cases) + "\n]"
        for key, cases in (("progress", progress), ("plateau", plateau))
    }
    (HERE / "torch_schedules.json").write_text(
        f'{{"made_with": {json.dumps(made_with)},\n"rate": {RATE},\n'
        f'"progress": {rows["progress"]},\n"plateau": {rows["plateau"]}}}\n'
    )


if __name__ == "__main__":
    main()
