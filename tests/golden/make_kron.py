"""Freeze trajectories of PSGD Kron by its author: Python 3.11, torch 2.13.0, jax 0.10.2, the CPU.

The program is `psgd.py` of github.com/lixilinx/psgd_torch at commit
a8616f1d802136159793419ed382cd2ba8fb91dd (no licence is given), class `KronWhiten` with its default
dQ, which is not part of this repository: give the path of a copy. It wants opt_einsum. From the
repository root, this writes kron.npz and kron.json:

    python -m tests.golden.make_kron <copy of psgd_torch>

Its random numbers are funcopt's, which are drawn by JAX: `torch.randn` and `torch.randn_like` take
those of a step one after the other. Where it would balance its factors by chance, it does not,
which changes no step. It has no weight decay. What is no matrix goes through PyTorch's AdamW at the
same rate.
"""

from __future__ import annotations

import importlib.util
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr_params"], **kwargs}
    return Case(name, "KronWhiten", settings, {"factory": "kron", "kwargs": call})


def cases():
    yield case("kron", {"lr_params": 0.02, "momentum": 0.9}, {})
    yield case(
        "kron-dense",
        {"lr_params": 0.05, "momentum": 0.5, "preconditioner_max_skew": 2.0, "betaL": 0.7,
         "lr_preconditioner": 0.3, "damping": 1e-2, "preconditioner_init_scale": 0.3,
         "whiten_grad": False, "grad_clip_max_amps": (0.5, 0.7)},
        {"b1": 0.5, "max_skew": 2, "bound_decay": 0.7, "preconditioner_lr": 0.3, "damping": 1e-2,
         "init_scale": 0.3, "whiten_grad": False, "clip_rms": 0.5, "clip_max": 0.7},
    )  # fmt: skip
    yield case(
        "kron-diagonal",
        {"lr_params": 0.05, "momentum": 0.0, "preconditioner_max_size": 1},
        {"b1": 0.0, "max_size": 1},
    )


class Drawn:
    """funcopt's random numbers: of each step, those that a matrix is given one after the other."""

    def __init__(self, sizes: list[int]):
        self.step, self.sizes, self.used = 0, sizes, 0

    def begin(self) -> None:
        self.step, self.used = self.step + 1, 0

    def numbers(self, *shape, dtype=None, **kwargs):
        import math

        import numpy as np
        import torch

        from funcopt.math.norm_bound import normal_numbers

        del kwargs  # the device
        end = self.used + math.prod(shape)
        found = np.array(normal_numbers(0, self.step, sum(self.sizes)))[self.used : end]
        self.used = end
        return torch.from_numpy(found.reshape(shape)).to(dtype)

    def like(self, x):
        return self.numbers(*x.shape, dtype=x.dtype)


def run(module, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    settings, call = frozen_case.settings, frozen_case.call["kwargs"]
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    matrices = [p for p in params if p.ndim == 2]
    others = [p for p in params if p.ndim != 2]
    skew, longest = call.get("max_skew", 1), call.get("max_size", 8192)
    dense = [(p, n) for p in matrices for n in p.shape if n <= longest]
    dense = [n for p, n in dense if n * n <= skew * p.numel()]
    drawn = Drawn([*(p.numel() for p in matrices), *(2 * 32 * n for n in dense)])
    torch.randn, torch.randn_like = drawn.numbers, drawn.like
    torch.rand = lambda shape: torch.full(shape, 0.5)
    kron = module.KronWhiten(matrices, **settings) if matrices else None
    rest = {"betas": (call.get("b1", 0.9), 0.999), "weight_decay": 0.0}
    adam = torch.optim.AdamW(others, settings["lr_params"], **rest) if others else None
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g))
        if kron is not None:
            drawn.begin()
            kron.step(lambda: sum((p * p.grad).sum() for p in matrices))
        if adam is not None:
            adam.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    rates = [settings["lr_params"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import torch

    spec = importlib.util.spec_from_file_location("psgd", f"{sys.argv[1]}/psgd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frozen = [
        (frozen_case, dtype, *run(module, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "lixilinx/psgd_torch a8616f1d802136159793419ed382cd2ba8fb91dd, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    write("kron", made_with, frozen)


if __name__ == "__main__":
    main()
