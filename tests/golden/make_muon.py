"""Freeze trajectories of Muon, by its author and by PyTorch: Python 3.11, torch 2.13.0, on the CPU.

The author's program is `muon.py` of github.com/KellerJordan/Muon at commit
857d1adc159e098212f828d927460782d3da59e9 (MIT). It is not part of this repository: give the path
of a copy. From the repository root, this writes muon.npz and muon.json:

    python -m tests.golden.make_muon <copy of KellerJordan/Muon>/muon.py

Both programs take Newton and Schulz's steps in bfloat16, which has three digits. Here they run in
the type of the parameters: `torch.Tensor.bfloat16` is replaced by a copy. Their matrices are
[outputs, inputs], so that they are given those of the frozen inputs transposed. What is no matrix
goes through their AdamW, at the rate of the matrices times `otherwise_rate`. PyTorch divides by the
larger of the norm and eps, the author by their sum: PyTorch's eps is made too small to be seen.
"""

from __future__ import annotations

import importlib.util
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, optimizer: str, settings: dict, otherwise_rate: float, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr"], "otherwise_rate": otherwise_rate, **kwargs}
    return Case(name, optimizer, settings, {"factory": "muon", "kwargs": call})


def cases():
    author, torch = "SingleDeviceMuonWithAuxAdam", "torch.optim.Muon"
    yield case("muon-author", author, {"lr": 0.02}, 0.015, {})
    yield case(
        "muon-author-decay", author, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}, 0.5,
        {"beta": 0.8, "weight_decay": 0.1},
    )  # fmt: skip
    yield case(
        "muon-torch",
        torch,
        {"lr": 0.02, "weight_decay": 0.1, "eps": 1e-20},
        0.5,
        {"weight_decay": 0.1, "eps": 0.0},
    )
    yield case(
        "muon-torch-rms", torch,
        {"lr": 0.02, "weight_decay": 0.0, "eps": 1e-20, "nesterov": False,
         "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "ns_coefficients": [3.0, -3.2, 1.2]},
        1.0,
        {"eps": 0.0, "nesterov": False, "adjust": "match_rms_adamw", "ns_steps": 3,
         "ns_coeffs": [3.0, -3.2, 1.2]},
    )  # fmt: skip


def optimizers(module, frozen_case: Case, matrices: list, others: list) -> list:
    """The program's optimizers, all of which are to be stepped."""
    import torch

    settings = frozen_case.settings
    rate = settings["lr"] * frozen_case.call["kwargs"]["otherwise_rate"]
    rest = {"lr": rate, "betas": (0.9, 0.95), "eps": 1e-10}
    rest["weight_decay"] = settings.get("weight_decay", 0)
    if frozen_case.optimizer != "torch.optim.Muon":
        groups = [{"params": matrices, "use_muon": True, **settings}]
        groups.append({"params": others, "use_muon": False, **rest})
        return [module.SingleDeviceMuonWithAuxAdam(groups)]
    return [torch.optim.Muon(matrices, **settings), torch.optim.AdamW(others, **rest)]


def run(module, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0.T))) for _, p0, _ in given]
    matrices = [p for p in params if p.ndim == 2]
    steppers = optimizers(module, frozen_case, matrices, [p for p in params if p.ndim != 2])
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


def main() -> None:
    import torch

    torch.Tensor.bfloat16 = torch.Tensor.clone
    spec = importlib.util.spec_from_file_location("muon", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frozen = [
        (frozen_case, dtype, *run(module, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "KellerJordan/Muon 857d1adc159e098212f828d927460782d3da59e9 muon.py, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    write("muon", made_with, frozen)


if __name__ == "__main__":
    main()
