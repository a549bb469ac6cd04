"""Freeze trajectories of Dion2 and of nanochat's Muon: Python 3.11, torch 2.13.0, on the CPU.

The programs are not part of this repository: give the paths of copies. From the repository root,
this writes matrix_chains.npz and matrix_chains.json:

    python -m tests.golden.make_matrix_chains <copy of dion> <copy of nanochat>

Dion2: github.com/microsoft/dion at commit 0a059a4542e5aa74b40dcd1dce363836c7afcd48 (MIT), `Dion2`.
nanochat: `nanochat/optim.py` of github.com/karpathy/nanochat at commit
92d63d4e8bb4df75c3b71618f31ddde2378b2bcd (MIT), `MuonAdamW`.

Both compile their steps, and keep rates in float32. Dion2 takes those of Polar Express in bfloat16,
which has three digits; nanochat takes norms and AdamW's averages in float32. Here nothing is
compiled and all is in the type of the parameters: `Tensor.bfloat16` and `Tensor.float` are replaced
by the tensor itself, and so is `Tensor.to` of bfloat16. Their matrices are [outputs, inputs], so
that they are given those of the frozen inputs transposed. They add an epsilon to 1.02 and to 1.01
times the norm, where `ns_eps` is added to the norm. What is no matrix goes through PyTorch's AdamW,
or nanochat's, at the rate of the matrices times `otherwise_rate`.
"""

from __future__ import annotations

import importlib
import platform
import sys
import types

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr"], **kwargs}
    call["ns_eps"] = 1e-6 / 1.01 if optimizer == "MuonAdamW" else 1e-8 / 1.02
    return Case(name, optimizer, settings, {"factory": factory, "kwargs": call})


def cases():
    yield case("dion2", "Dion2", {"lr": 0.02}, "dion2", {"otherwise_rate": 1.0})
    yield case(
        "dion2-half", "Dion2",
        {"lr": 0.05, "fraction": 0.5, "ef_decay": 0.7, "weight_decay": 0.1,
         "adjust_lr": "rms_norm"},
        "dion2",
        {"fraction": 0.5, "ef_decay": 0.7, "weight_decay": 0.1, "scaling": "moonlight",
         "otherwise_rate": 0.5},
    )  # fmt: skip
    yield case(
        "nanochat-muon", "MuonAdamW",
        {"lr": 0.02, "momentum": 0.95, "ns_steps": 5, "beta2": 0.9, "weight_decay": 0.0},
        "nanochat_muon", {"otherwise_rate": 1.0},
    )  # fmt: skip
    yield case(
        "nanochat-muon-decay", "MuonAdamW",
        {"lr": 0.05, "momentum": 0.8, "ns_steps": 5, "beta2": 0.7, "weight_decay": 0.2},
        "nanochat_muon", {"beta": 0.8, "b2": 0.7, "weight_decay": 0.2, "otherwise_rate": 0.5},
    )  # fmt: skip


def optimizers(modules: dict, frozen_case: Case, matrices: list, others: list) -> list:
    """The program's optimizers, all of which are to be stepped."""
    import torch

    settings = dict(frozen_case.settings)
    rate = settings["lr"] * frozen_case.call["kwargs"]["otherwise_rate"]
    decay = settings.get("weight_decay", 0.01)
    rest = {"lr": rate, "betas": (0.9, 0.95), "eps": 1e-10, "weight_decay": decay}
    if frozen_case.optimizer == "Dion2":
        modules["Dion2"].Dion2._sync_hyperparam_tensors = lambda self: None  # they are in float32
        ours = [modules["Dion2"].Dion2(matrices, **settings)] if matrices else []
        return [*ours, torch.optim.AdamW(others, **rest)] if others else ours
    groups = [{"kind": "muon", "params": matrices, **settings}] if matrices else []
    groups += [{"kind": "adamw", "params": others, **rest}] if others else []
    made = modules["MuonAdamW"].MuonAdamW(groups)
    for name, x in vars(made).items():  # its numbers, which are in float32
        if name.endswith("_t"):
            setattr(made, name, x.to(torch.float64))
    return [made]


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
        with torch.no_grad():
            for optimizer in steppers:
                optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().T.copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def as_wide() -> None:
    """Make PyTorch compile nothing, and leave tensors in the type that they have."""
    import torch

    to = torch.Tensor.to

    def kept(self):
        return self

    def to_wide(self, *args, **kwargs):
        narrow = torch.bfloat16 in (*args, *kwargs.values())
        return self if narrow else to(self, *args, **kwargs)

    def compiled(function=None, **kwargs):
        del kwargs  # they are for the compiler
        return compiled if function is None else function

    torch.compile = compiled
    torch.Tensor.to = to_wide
    torch.Tensor.float = kept
    torch.Tensor.bfloat16 = kept


def main() -> None:
    import torch

    copy_of_dion, copy_of_nanochat = sys.argv[1:]
    as_wide()
    # The module that optim.py takes one constant from wants packages of a server.
    common = types.ModuleType("nanochat.common")
    common.COMPUTE_DTYPE = torch.float32  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["nanochat.common"] = common
    sys.path[:0] = [copy_of_dion, copy_of_nanochat]
    modules = {
        "Dion2": importlib.import_module("dion.dion2"),
        "MuonAdamW": importlib.import_module("nanochat.optim"),
    }
    frozen = [
        (frozen_case, dtype, *run(modules, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "microsoft/dion 0a059a4542e5aa74b40dcd1dce363836c7afcd48, karpathy/nanochat "
        f"92d63d4e8bb4df75c3b71618f31ddde2378b2bcd, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    write("matrix_chains", made_with, frozen)


if __name__ == "__main__":
    main()
