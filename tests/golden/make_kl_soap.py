"""Freeze trajectories of KL-SOAP and KL-Shampoo by their authors: Python 3.11, torch 2.13.0, CPU.

The program is not part of this repository: give the path of a copy of
github.com/yorkerlin/KL-Methods at commit a02e6221556301cf84f9607c73f327910afb2b95 (no licence is
given). From the repository root, this writes kl_soap.npz and kl_soap.json:

    python -m tests.golden.make_kl_soap <copy of KL-Methods>

It computes in bfloat16 by default, and takes QR in float32: here both are in the type of the
parameters. It takes no vectors, which go through PyTorch's AdamW. Its matrices are [outputs,
inputs], so that it is given those of the frozen inputs transposed.
"""

from __future__ import annotations

import importlib
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, call: str) -> Case:
    b1, b2 = settings["betas"]
    factory = "soap" if settings["using_klsoap"] else "kl_shampoo"
    told = f"{factory}({settings['lr']}, {b1}, {b2}, {call}"
    if factory == "soap":
        told += ", kl=True, bias_correction=False"
    told = f"{told}, otherwise=(rules.Adam({b1}, {b2}), rules.Decay({settings['weight_decay']})))"
    kwargs = {"learning_rate": settings["lr"]}
    record = {"factory": factory, "kwargs": kwargs, "call": told}
    return Case(name, "KLOpt", settings, record)


def cases():
    soap, shampoo = {"using_klsoap": True}, {"using_klsoap": False}
    settings = {"lr": 0.01, "betas": (0.9, 0.98), "weight_decay": 0.1}
    yield case("kl-soap", {**settings, **soap}, "weight_decay=0.1")
    yield case("kl-shampoo", {**settings, **shampoo}, "weight_decay=0.1")
    often = {"lr": 0.03, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.0,
             "precondition_frequency": 3}  # fmt: skip
    yield case(
        "kl-shampoo-often", {**often, **shampoo},
        "eps=1e-2, weight_decay=0.0, precondition_frequency=3",
    )  # fmt: skip
    yield case(
        "kl-soap-often",
        {"lr": 0.03, "betas": (0.8, 0.9), "shampoo_beta": 0.7, "eps": 1e-3,
         "weight_decay": 0.0, "precondition_frequency": 3, **soap},
        "eps=1e-3, weight_decay=0.0, shampoo_beta=0.7, precondition_frequency=3",
    )  # fmt: skip


def run(program, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0.T))) for _, p0, _ in given]
    matrices, others = ([p for p in params if (p.ndim == 2) == two] for two in (True, False))
    settings = dict(frozen_case.settings)
    steppers = [
        program(matrices, cast_dtype=getattr(torch, dtype), **settings),
        torch.optim.AdamW(
            others, settings["lr"], settings["betas"], weight_decay=settings["weight_decay"]
        ),
    ]
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy().T), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g.T))
        for stepper in steppers:
            stepper.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().T.copy())
    rates = [settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import torch

    (copy,) = sys.argv[1:]
    torch.compile = lambda function: function
    torch.Tensor.float = lambda x: x
    sys.path.insert(0, f"{copy}/optim")
    program = importlib.import_module("kl_opt").KLOpt
    frozen = [
        (frozen_case, dtype, *run(program, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "yorkerlin/KL-Methods a02e6221556301cf84f9607c73f327910afb2b95, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    write("kl_soap", made_with, frozen)


if __name__ == "__main__":
    main()
