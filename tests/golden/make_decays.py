"""Freeze weight decays of public programs on the CPU, with torch 2.13.0, in float64.

HeavyBall 3.2.1 (BSD-2-Clause) has the cautious decay and Hyperball, around what has no first
moment, whatever its name; Emerging-Optimizers of NVIDIA (Apache-2.0, commit
fd7729267109a8848709e9406bf19e53e970c3f4, its package on PYTHONPATH) the independent,
the squared ("palm") and the L2 one; pytorch-optimizer 4.1.0 (Apache-2.0)
the independent one (`fixed_decay`); madgrad 1.3 (MIT) a decoupled one beside dual averaging.

    TORCHDYNAMO_DISABLE=1 python -m tests.golden.make_decays

from the repository root writes decays.npz and decays.json.

A call of funcopt is written as it stands after `from funcopt import *`. A rate that changes does
so by a half, which is exact in every precision, and after step 12.
"""

from __future__ import annotations

import platform
import sys
import types
import typing
from importlib.metadata import version
from typing import Any

from tests.golden.freeze import STEPS, Case, leaves, write

CHANGE = 12


def case(name: str, optimizer: str, settings: dict, call: str, problem: str = "quadratic") -> Case:
    rate = f"piecewise_constant_schedule({settings['lr']}, {{{CHANGE}: 0.5}})"
    record = {
        "factory": call.partition("(")[0],
        "kwargs": {"learning_rate": settings["lr"]},
        "call": call.replace("LR", rate),
    }
    return Case(name, optimizer, settings, record, problem, {"halved": CHANGE})


def cases():
    heavy = {"lr": 0.0625, "betas": [0.875, 0.96875], "eps": 1e-30, "storage_dtype": "float64"}
    yield case(
        "cautious-decay", "heavyball-AdamW",
        {**heavy, "weight_decay": 0.5, "cautious_weight_decay": True},
        "adamw(LR, b1=0.875, b2=0.96875, eps=0.0, weight_decay=decays.cautious(0.5))",
    )  # fmt: skip
    heavy |= {"betas": [0.9, 0.96875]}
    rms = "rmsprop(LR, 0.96875, eps=0.0, eps_in_sqrt=False, bias_correction=True)"
    yield case("hyperball", "heavyball-HyperBallAdamW", heavy, f"hyperball({rms})")
    yield case(
        "hyperball-vectors", "heavyball-HyperBallAdamW", heavy, f"hyperball({rms})", "gradients"
    )
    for method, decay, ours in (
        ("independent", 0.02, "independent(0.02)"),
        ("palm", 20.0, "squared(20.0)"),
        ("l2", 0.25, "l2(0.25)"),
    ):
        yield case(
            f"nvidia-{method}", "emerging-Lion",
            {"lr": 0.05, "weight_decay": decay, "weight_decay_method": method},
            f"lion(LR, weight_decay=decays.{ours})", "gradients",
        )  # fmt: skip
    yield case(
        "fixed-decay", "kozistr-Lion",
        {"lr": 0.05, "betas": [0.9, 0.99], "weight_decay": 0.02, "fixed_decay": True},
        "lion(LR, weight_decay=decays.independent(0.02))", "gradients",
    )  # fmt: skip
    yield case(
        "madgrad-decoupled", "madgrad",
        {"lr": 0.05, "eps": 0.0, "weight_decay": 0.5, "decouple_decay": True},
        "madgrad(LR, eps=0.0, weight_decay=decays.decoupled(0.5))",
    )  # fmt: skip


def made(frozen_case: Case, params: list) -> Any:
    package, _, name = frozen_case.optimizer.partition("-")
    if package == "heavyball":
        import heavyball
        import torch

        heavyball.utils.compile_mode = None
        torch.set_default_dtype(torch.float64)  # in which it raises beta to the number of steps
        return getattr(heavyball, name)(params, **frozen_case.settings)
    if package == "emerging":
        # Its decorators want Python 3.12, and change no number.
        typing.override = getattr(typing, "override", lambda f: f)
        registry: Any = types.ModuleType("emerging_optimizers.registry")
        registry.register_optimizer = lambda name: lambda cls: cls
        sys.modules[registry.__name__] = registry
        import emerging_optimizers.scalar_optimizers as scalar

        return getattr(scalar, name)(params, **frozen_case.settings)
    if package == "kozistr":
        import pytorch_optimizer

        return getattr(pytorch_optimizer, name)(params, **frozen_case.settings)
    from madgrad import MADGRAD

    return MADGRAD(params, **frozen_case.settings)


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = made(frozen_case, params)
    path, rates = {leaf: [] for leaf, _, _ in given}, []
    for index in range(STEPS):
        if index == CHANGE:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        rates.append(float(optimizer.param_groups[0]["lr"]))
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    frozen = [(each, "float64", *run(each, "float64")) for each in cases()]
    packages = ("heavyball", "pytorch-optimizer", "madgrad", "torch")
    programs = ", ".join(f"{name} {version(name)}" for name in packages)
    made_with = f"{programs}, Emerging-Optimizers fd77292, Python {platform.python_version()}"
    write("decays", made_with, frozen)


if __name__ == "__main__":
    main()
