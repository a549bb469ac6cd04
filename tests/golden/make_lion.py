"""Freeze trajectories of the Lion authors' program: Python 3.11, torch 2.13.0, on the CPU.

The program is `lion/lion_pytorch.py` of github.com/google/automl at commit
6a54c8741e7c3265d4547c4f35f47a0391122dc5 (Apache-2.0). It is not part of this repository: give the
path of a copy. From the repository root, this writes lion.npz and lion.json:

    python -m tests.golden.make_lion <copy of google/automl>/lion/lion_pytorch.py

A sign turns rounding into a jump. The script refuses inputs where an interpolated momentum is so
near zero, for the size of its terms, that float32 and float64 could disagree about its sign.
"""

from __future__ import annotations

import importlib.util
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name, settings, kwargs, **more):
    call = {"factory": "lion", "kwargs": {"learning_rate": settings["lr"], **kwargs}}
    return Case(name, "Lion", settings, call, **more)


def cases():
    yield case("lion-default", {"lr": 1e-4}, {"weight_decay": 0.0})
    yield case("lion-decay", {"lr": 0.01, "weight_decay": 0.1}, {"weight_decay": 0.1})
    betas = {"b1": 0.95, "b2": 0.98, "weight_decay": 1.0}
    yield case("lion-betas-decay", {"lr": 0.03, "betas": [0.95, 0.98], "weight_decay": 1.0}, betas)
    yield case(
        "lion-quadratic", {"lr": 0.02, "weight_decay": 0.1}, {"weight_decay": 0.1},
        problem="quadratic",
    )  # fmt: skip


def margin(gradients, b1, b2):
    """The least |c| relative to the size of its two terms, over all steps where c is not 0 / 0."""
    import numpy as np

    m, least = np.zeros(gradients.shape[1:]), np.inf
    for g in gradients.astype(np.float64):
        size = np.abs(b1 * m) + np.abs((1 - b1) * g)
        c = np.abs(b1 * m + (1 - b1) * g)
        least = min(least, np.min(np.where(size > 0, c / np.where(size > 0, size, 1), np.inf)))
        m = b2 * m + (1 - b2) * g
    return least


def run(lion, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = lion(params, **frozen_case.settings)
    path = {leaf: [] for leaf, _, _ in given}
    seen = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (leaf, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
            seen[leaf].append(g)
        optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    b1, b2 = optimizer.param_groups[0]["betas"]
    least = min(margin(np.stack(gradients), b1, b2) for gradients in seen.values())
    print(f"{frozen_case.name}-{dtype}: least margin of a sign {least:.1e}")
    if least < 1e-4:
        raise ValueError(f"{frozen_case.name}: a sign is within {least:.1e} of zero")
    return (
        {leaf: np.stack(values) for leaf, values in path.items()},
        [frozen_case.settings["lr"]] * STEPS,
    )


def main() -> None:
    import torch

    spec = importlib.util.spec_from_file_location("lion_pytorch", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frozen = [
        (frozen_case, dtype, *run(module.Lion, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "google/automl 6a54c8741e7c3265d4547c4f35f47a0391122dc5 lion/lion_pytorch.py, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    write("lion", made_with, frozen)


if __name__ == "__main__":
    main()
