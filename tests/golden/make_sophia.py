"""Freeze trajectories of the Sophia authors' program: Python 3.11, torch 2.13.0, on the CPU.

The program is `sophia.py` of github.com/Liuhong99/Sophia at commit
a7e157229b71d58cf995d32854f1be15c265b350 (MIT). It is not part of this repository: give the path of
a copy. From the repository root, this writes sophia.npz and sophia.json:

    python -m tests.golden.make_sophia <copy of Sophia>/sophia.py

Before every step whose index `every` divides, `update_hessian` is given the gradient of labels that
a model has drawn, which here is `tests.golden.Inputs.drawn`. The estimate is `batch` times its
square; the program multiplies by `bs` in its step, and adds 1e-15 where the paper has a maximum.
"""

from __future__ import annotations

import importlib.util
import platform
import sys

from tests.golden import inputs
from tests.golden.freeze import STEPS, Case, leaves, write

EPS = {"eps": 1e-15}


def case(name, settings, kwargs, every, batch, **more):
    call = {
        "factory": "sophia",
        "kwargs": {"learning_rate": settings["lr"], **EPS, **kwargs},
        "hessian": {"every": every, "batch": batch},
    }
    return Case(name, "SophiaG", settings, call, **more)


def cases():
    yield case(
        "sophia-default", {"lr": 1e-4, "weight_decay": 0.0},
        {"gamma": 0.04, "weight_decay": 0.0}, 10, 4,
    )  # fmt: skip
    yield case(
        "sophia-betas-decay", {"lr": 0.03, "betas": [0.9, 0.7], "rho": 0.5, "weight_decay": 0.5},
        {"b1": 0.9, "b2": 0.7, "gamma": 0.5, "weight_decay": 0.5}, 3, 2,
    )  # fmt: skip
    yield case(
        "sophia-quadratic", {"lr": 0.1, "rho": 0.1},
        {"gamma": 0.1, "weight_decay": 0.1}, 4, 8, problem="quadratic",
    )  # fmt: skip


def run(sophia, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given, whole = list(leaves(frozen_case, dtype)), inputs(frozen_case.problem, dtype)
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = sophia(params, **frozen_case.settings)
    hessian = frozen_case.call["hessian"]
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        if index % hessian["every"] == 0:
            for (leaf, _, _), p in zip(given, params, strict=True):
                p.grad = torch.from_numpy(np.array(whole.drawn(index, leaf), dtype=dtype))
            optimizer.update_hessian()
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step(bs=hessian["batch"])
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    return (
        {leaf: np.stack(values) for leaf, values in path.items()},
        [frozen_case.settings["lr"]] * STEPS,
    )


def main() -> None:
    import torch

    spec = importlib.util.spec_from_file_location("sophia", sys.argv[1])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frozen = [
        (frozen_case, dtype, *run(module.SophiaG, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "Liuhong99/Sophia a7e157229b71d58cf995d32854f1be15c265b350 sophia.py, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    write("sophia", made_with, frozen)


if __name__ == "__main__":
    main()
