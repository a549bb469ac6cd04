"""Freeze trajectories of AdaMuon and PolarGrad by their authors: Python 3.11, torch 2.13.0, CPU.

The programs are not part of this repository: give the paths of copies. From the repository root,
this writes matrix_authors.npz and matrix_authors.json:

    python -m tests.golden.make_matrix_authors <copy of AdaMuon> <copy of polargrad>

AdaMuon: `gpt2/models/optimizers/adamuon.py` of github.com/Chongjie-Si/AdaMuon at commit
369f0b3bd9d97f82bb8ba81664207ac513e233b0 (no licence is given). PolarGrad: `polar_grad.py` of
github.com/timlautk/polargrad at commit 79f3c6fc67c8b17af92fd2841509d75e04525887 (Apache 2.0), with
`method="ns"`, since its other ones are exact to fewer digits than are compared here.

Both take Newton and Schulz's steps in bfloat16, which has three digits: `torch.Tensor.bfloat16` is
replaced by a copy. AdaMuon gathers updates of several GPUs in bfloat16 buffers: here there is one
process, and its buffers are on the CPU, in the type of the parameters. Matrices are [outputs,
inputs], so that they are given those of the frozen inputs transposed. What is no matrix goes
through PyTorch's AdamW at the rate of the matrices times `otherwise_rate`.
"""

from __future__ import annotations

import importlib
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr"], **kwargs}
    return Case(name, optimizer, settings, {"factory": factory, "kwargs": call})


def cases():
    yield case("adamuon", "AdaMuon", {"lr": 0.02}, "adamuon", {"otherwise_rate": 1.0})
    yield case(
        "adamuon-heavy", "AdaMuon",
        {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.0, "nesterov": False, "eps": 1e-2},
        "adamuon",
        {"beta": 0.8, "weight_decay": 0.0, "nesterov": False, "eps": 1e-2, "otherwise_rate": 0.5},
    )  # fmt: skip
    yield case(
        "polargrad", "PolarGrad",
        {"lr": 0.02, "weight_decay": 0.1, "method": "ns", "inner_steps": 5, "c": 2.0315},
        "polargrad",
        {"weight_decay": 0.1, "ns_coeffs": [3.4445, -4.7750, 2.0315], "ns_steps": 5,
         "otherwise_rate": 1.0},
    )  # fmt: skip
    yield case(
        "polargrad-shorter", "PolarGrad",
        {"lr": 0.01, "momentum": 0.8, "method": "ns", "inner_steps": 3, "c": 2.0315},
        "polargrad",
        {"beta": 0.8, "ns_coeffs": [3.4445, -4.7750, 2.0315], "ns_steps": 3, "otherwise_rate": 0.5},
    )  # fmt: skip


def optimizers(modules: dict, frozen_case: Case, matrices: list, others: list) -> list:
    """The program's optimizers, all of which are to be stepped."""
    import torch

    settings = dict(frozen_case.settings)
    call = frozen_case.call["kwargs"]
    decay = settings.get("weight_decay", 0.01 if frozen_case.optimizer == "AdaMuon" else 0.0)
    rest = {"lr": settings["lr"] * call["otherwise_rate"], "betas": (0.9, 0.95), "eps": 1e-10}
    if frozen_case.optimizer == "AdaMuon":
        settings |= {"rank": 0, "world_size": 1}
    program = getattr(modules[frozen_case.optimizer], frozen_case.optimizer)
    steppers = [program(matrices, **settings)] if matrices else []
    return (
        [*steppers, torch.optim.AdamW(others, weight_decay=decay, **rest)] if others else steppers
    )


def run(modules: dict, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0.T))) for _, p0, _ in given]
    matrices = [p for p in params if p.ndim == 2]
    steppers = optimizers(modules, frozen_case, matrices, [p for p in params if p.ndim != 2])
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy().T), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g.T))
        for optimizer in steppers:
            optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().T.copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


class Gathered:
    """What one process has gathered."""

    def wait(self) -> None:
        pass


def alone() -> None:
    """Make PyTorch one process on a CPU, whose products of matrices are as wide as they are."""
    import torch

    empty, addcmul = torch.empty, torch.Tensor.addcmul_

    def gather(buffer, update, async_op):
        del async_op  # there is nobody to wait for
        buffer.copy_(update.view_as(buffer))
        return Gathered()

    def cpu_empty(*shape, device=None, dtype=None, **kwargs):
        return empty(*shape, **kwargs) if device == "cuda" else empty(*shape, dtype=dtype, **kwargs)

    def any_addcmul(self, *args, **kwargs):  # PyTorch no longer takes the number first
        number, *factors = args if len(args) == 3 else (kwargs.get("value", 1), *args)
        return addcmul(self, *factors, value=number)

    torch.empty = cpu_empty
    torch.Tensor.addcmul_ = any_addcmul
    torch.Tensor.bfloat16 = torch.Tensor.clone
    torch.distributed.all_gather_into_tensor = gather


def main() -> None:
    import torch

    copy_of_adamuon, copy_of_polargrad = sys.argv[1:]
    torch.compile = lambda function: function
    sys.path[:0] = [f"{copy_of_adamuon}/gpt2/models/optimizers", copy_of_polargrad]
    modules = {
        "AdaMuon": importlib.import_module("adamuon"),
        "PolarGrad": importlib.import_module("polar_grad"),
    }
    alone()
    frozen = [
        (frozen_case, dtype, *run(modules, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "Chongjie-Si/AdaMuon 369f0b3bd9d97f82bb8ba81664207ac513e233b0, timlautk/polargrad "
        f"79f3c6fc67c8b17af92fd2841509d75e04525887, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    write("matrix_authors", made_with, frozen)


if __name__ == "__main__":
    main()
