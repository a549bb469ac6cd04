"""Freeze trajectories of Shampoo by Meta's program: Python 3.12, torch 2.13.0, on the CPU.

The program is `distributed_shampoo` of github.com/facebookresearch/optimizers at commit
f60660661194de26d3ee78bae6d15820ff8e583d (BSD), which is not part of this repository: give the path
of a copy. From the repository root, this writes shampoo.npz and shampoo.json:

    python -m tests.golden.make_shampoo <copy of facebookresearch/optimizers>

It adds epsilon itself to eigenvalues (`relative_eps=False`), and is told to keep matrices in the
type of the parameters, and not to make vectors of them where one block would hold these. It keeps
the rate in `torch.float`, which is the type of the parameters here. What is no matrix goes through
PyTorch's AdamW at the rate of the matrices.
"""

from __future__ import annotations

import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr"], "relative_eps": False, **kwargs}
    return Case(name, "DistributedShampoo", settings, {"factory": "shampoo", "kwargs": call})


def cases():
    yield case(
        "shampoo",
        {"lr": 0.02, "betas": (0.9, 0.999), "epsilon": 1e-3, "precondition_frequency": 3,
         "grafting": ("Adam", {"beta2": 0.99, "epsilon": 1e-6})},
        {"b1": 0.9, "b2": 0.999, "eps": 1e-3, "precondition_frequency": 3, "graft_b2": 0.99,
         "graft_eps": 1e-6},
    )  # fmt: skip
    yield case(
        "shampoo-blocks",
        {"lr": 0.05, "betas": (0.7, 0.9), "epsilon": 0.1, "precondition_frequency": 2,
         "start_preconditioning_step": 5, "max_preconditioner_dim": 2, "weight_decay": 0.1,
         "exponent": 0.3, "grafting": ("RMSprop", {"beta2": 0.8, "epsilon": 1e-3})},
        {"b1": 0.7, "b2": 0.9, "eps": 0.1, "precondition_frequency": 2,
         "start_preconditioning_step": 5, "block_size": 2, "weight_decay": 0.1, "exponent": 0.3,
         "graft": "rmsprop", "graft_b2": 0.8, "graft_eps": 1e-3},
    )  # fmt: skip
    yield case(
        "shampoo-sums",
        {"lr": 0.05, "betas": (0.0, 1.0), "epsilon": 1e-2, "momentum": 0.5, "nesterov": True,
         "grafting": ("AdaGrad", {"epsilon": 1e-6})},
        {"b1": 0.0, "b2": None, "eps": 1e-2, "precondition_frequency": 1, "momentum": 0.5,
         "nesterov": True, "graft": "adagrad", "graft_eps": 1e-6},
    )  # fmt: skip
    yield case(
        "shampoo-sgd",
        {"lr": 0.01, "betas": (0.5, 1.0), "epsilon": 1e-2, "precondition_frequency": 2,
         "grafting": ("SGD", {})},
        {"b1": 0.5, "b2": None, "eps": 1e-2, "precondition_frequency": 2, "graft": "sgd"},
    )  # fmt: skip
    yield case(
        "shampoo-plain",
        {"lr": 0.05, "betas": (0.9, 1.0), "epsilon": 1.0, "momentum": 0.9},
        {"b1": 0.9, "b2": None, "eps": 1.0, "precondition_frequency": 1, "graft": "none",
         "momentum": 0.9},
    )  # fmt: skip


def optimizers(frozen_case: Case, matrices: list, others: list, dtype) -> list:
    """The program's optimizers, all of which are to be stepped."""
    import torch
    from distributed_shampoo import DistributedShampoo  # pyright: ignore[reportMissingImports]
    from distributed_shampoo import shampoo_types as program  # pyright: ignore

    settings = dict(frozen_case.settings)
    call = frozen_case.call["kwargs"]
    grafting = settings.pop("grafting", None)
    graft = getattr(program, f"{grafting[0]}PreconditionerConfig") if grafting else None
    momentum = {"momentum": settings.pop("momentum", None)}
    momentum["use_nesterov"] = settings.pop("nesterov", False)
    exponent = settings.pop("exponent", None)
    config = program.RootInvShampooPreconditionerConfig(
        factor_matrix_dtype=dtype,
        inv_factor_matrix_dtype=dtype,
        inverse_exponent_override={2: exponent} if exponent else {},
    )
    averaging = program.ClassicMomentumConfig(**momentum) if momentum["momentum"] else None
    made = []
    if matrices:
        made.append(
            DistributedShampoo(
                matrices,
                preconditioner_config=config,
                grafting_config=graft(**grafting[1]) if graft else None,
                iterate_averaging_config=averaging,
                distributed_config=program.SingleDeviceDistributedConfig(
                    target_parameter_dimensionality=2
                ),
                **settings,
            )
        )
    if others:
        betas = call["b1"], call.get("graft_b2", 0.999)
        eps, decay = call.get("graft_eps", 1e-8), settings.get("weight_decay", 0.0)
        made.append(
            torch.optim.AdamW(others, settings["lr"], betas=betas, eps=eps, weight_decay=decay)
        )
    return made


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    torch.float = getattr(torch, dtype)
    torch.set_default_dtype(torch.float)
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    matrices = [p for p in params if p.ndim == 2]
    others = [p for p in params if p.ndim != 2]
    steppers = optimizers(frozen_case, matrices, others, getattr(torch, dtype))
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g))
        for optimizer in steppers:
            optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import torch

    sys.path[:0] = [sys.argv[1]]
    frozen = [
        (frozen_case, dtype, *run(frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "facebookresearch/optimizers f60660661194de26d3ee78bae6d15820ff8e583d, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    write("shampoo", made_with, frozen)


if __name__ == "__main__":
    main()
