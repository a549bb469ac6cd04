"""Freeze trajectories of what steps by norms of whole arrays: Python 3.11, torch 2.13.0, CPU.

The program of LAMB is that of timm 1.0.31 (Apache-2.0), without the clip of all gradients by their
global norm, which is on by default there, and with a ratio for parameters that do not decay. It is
not part of this repository. With it and NumPy installed, this writes layerwise.npz and
layerwise.json, from the repository root:

    python -m tests.golden.make_layerwise
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write

PACKAGES = ("timm", "torch")


def case(name: str, program: str, settings: dict, kwargs: dict, **more) -> Case:
    factory = name.split("-")[0]
    call = {"factory": factory, "kwargs": {"learning_rate": settings["lr"], **kwargs}}
    return Case(name, program, settings, call, **more)


def cases():
    whole = {"max_grad_norm": None, "always_adapt": True, "foreach": False}
    plain = {**whole, "weight_decay": 0.0}
    yield case("lamb-default", "timm.Lamb", {"lr": 1e-2, **plain}, {})
    yield case(
        "lamb-other", "timm.Lamb",
        {**whole, "lr": 0.05, "betas": [0.7, 0.95], "eps": 1e-4, "weight_decay": 0.1},
        {"b1": 0.7, "b2": 0.95, "eps": 1e-4, "weight_decay": 0.1},
    )  # fmt: skip
    yield case("lamb-quadratic", "timm.Lamb", {"lr": 0.1, **plain}, {}, problem="quadratic")


def programs() -> dict:
    """Their classes, by the names that cases call them."""
    from timm.optim import Lamb

    return {"timm.Lamb": Lamb}


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = programs()[frozen_case.optimizer](params, **frozen_case.settings)
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    frozen = [
        (frozen_case, dtype, *run(frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    used = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    write("layerwise", f"{used}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
