"""Freeze trajectories of the AdaBelief authors' program: Python 3.11, CPU.

The program is the package adabelief-pytorch 0.2.1 (MIT), with torch 2.13.0; neither is part of this
repository. With them and NumPy installed, this writes adabelief.npz and adabelief.json, from the
repository root:

    python -m tests.golden.make_adabelief

Its rectification and its weight decay are switched off: the first is another algorithm, RAdam's,
and the second is chained in funcopt.
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, kwargs: dict, **more) -> Case:
    call = {"factory": "adabelief", "kwargs": {"learning_rate": settings["lr"], **kwargs}}
    return Case(name, "AdaBelief", settings, call, **more)


def cases():
    yield case("adabelief-default", {"lr": 1e-3}, {})
    yield case(
        "adabelief-eps", {"lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-4},
        {"b1": 0.8, "b2": 0.95, "eps": 1e-4, "eps_root": 1e-4},
    )  # fmt: skip
    yield case(
        "adabelief-quadratic", {"lr": 0.02, "eps": 1e-8}, {"eps": 1e-8, "eps_root": 1e-8},
        problem="quadratic",
    )  # fmt: skip


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch
    from adabelief_pytorch import AdaBelief

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = AdaBelief(
        params, **frozen_case.settings, rectify=False, weight_decouple=False,
        print_change_log=False,
    )  # fmt: skip
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
    programs = ", ".join(f"{name} {version(name)}" for name in ("adabelief-pytorch", "torch"))
    write("adabelief", f"{programs}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
