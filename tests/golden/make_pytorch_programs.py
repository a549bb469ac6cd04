"""Freeze trajectories of programs in PyTorch, where no `make_*.py` of its own is: Python 3.11, CPU.

The programs are of timm 1.0.31 (Apache-2.0), pytorch-optimizer 4.1.0 (Apache-2.0) and
adam-atan2-pytorch 0.4.1 (MIT), run with torch 2.13.0; none is part of this repository. With them
and NumPy installed, this writes pytorch_programs.npz and pytorch_programs.json, from the repository
root:

    python -m tests.golden.make_pytorch_programs
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from inspect import signature
from math import pi

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name, optimizer, settings, factory, kwargs, **more):
    call = {"factory": factory, "kwargs": {"learning_rate": settings["lr"], **kwargs}}
    return Case(name, optimizer, settings, call, **more)


def sign_sgd():
    sign, signum = "pytorch_optimizer.SignSGD", {"lr": 0.01, "momentum": 0.8}
    yield case("sign-sgd", sign, {"lr": 0.01, "momentum": 0.0}, "sign_sgd", {})
    yield case("signum", sign, signum, "signum", {"beta": 0.8})
    yield case("signum-quadratic", sign, signum, "signum", {"beta": 0.8}, problem="quadratic")


def adan():
    """timm's is the authors' but for its name."""
    yield case("adan-default", "timm.Adan", {"lr": 0.001}, "adan", {})
    other = {"lr": 0.1, "betas": [0.9, 0.8, 0.95], "eps": 1e-3, "weight_decay": 0.5}
    yield case(
        "adan-decay", "timm.Adan", other, "adan",
        {"b1": 0.9, "b2": 0.8, "b3": 0.95, "eps": 1e-3, "weight_decay": 0.5},
    )  # fmt: skip
    yield case("adan-quadratic", "timm.Adan", {"lr": 0.1}, "adan", {}, problem="quadratic")


def adopt():
    """timm's, with the authors' exponent of the bound, which here is another by default."""
    author = {"clip_exp": 0.25}
    yield case("adopt-default", "timm.Adopt", {"lr": 0.001, **author}, "adopt", {})
    other = {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, **author}
    yield case(
        "adopt-betas-eps", "timm.Adopt", other, "adopt", {"b1": 0.8, "b2": 0.95, "eps": 1e-3}
    )
    free = {"lr": 0.01, "betas": [0.9, 0.99], "clip_exp": None}
    yield case("adopt-unclipped", "timm.Adopt", free, "adopt", {"b2": 0.99, "use_clipping": False})
    yield case(
        "adopt-quadratic", "timm.Adopt", {"lr": 0.1, **author}, "adopt", {}, problem="quadratic"
    )


def ademamix():
    """pytorch-optimizer's; Apple's adds 1e-8 inside a logarithm of the warm-up."""
    program, decoupled = "pytorch_optimizer.AdEMAMix", {"weight_decouple": True}
    yield case("ademamix-default", program, {"lr": 0.001, **decoupled}, "ademamix", {})
    yield case(
        "ademamix-decay", program,
        {"lr": 0.1, "betas": [0.8, 0.95, 0.99], "alpha": 2.0, "weight_decay": 0.1, **decoupled},
        "ademamix", {"b1": 0.8, "b2": 0.95, "b3": 0.99, "alpha": 2.0, "weight_decay": 0.1},
    )  # fmt: skip
    warm = {"lr": 0.01, "betas": [0.9, 0.999, 0.999], "t_alpha_beta3": 20, **decoupled}
    yield case("ademamix-warmup", program, warm, "ademamix", {"b3": 0.999, "warmup_steps": 20})
    yield case(
        "ademamix-quadratic", program, {"lr": 0.1, **decoupled}, "ademamix", {},
        problem="quadratic",
    )  # fmt: skip


def laprop():
    """timm's, at constant rates: it has them inside of the mean."""
    yield case("laprop-default", "timm.LaProp", {"lr": 0.001}, "laprop", {})
    other = {"lr": 0.1, "betas": [0.95, 0.9], "eps": 1e-3}
    yield case(
        "laprop-betas-eps", "timm.LaProp", other, "laprop", {"b1": 0.95, "b2": 0.9, "eps": 1e-3}
    )
    yield case("laprop-quadratic", "timm.LaProp", {"lr": 0.1}, "laprop", {}, problem="quadratic")


def madgrad():
    yield case("madgrad-default", "timm.MADGRAD", {"lr": 0.01}, "madgrad", {})
    other = {"momentum": 0.7, "weight_decay": 0.1, "eps": 1e-3}
    yield case("madgrad-decay", "timm.MADGRAD", {"lr": 0.1, **other}, "madgrad", other)
    yield case("madgrad-quadratic", "timm.MADGRAD", {"lr": 0.1}, "madgrad", {}, problem="quadratic")


def adam_atan2():
    """lucidrains' program, with 4/π for the 1.27 that it has by default."""
    program, factor = "adam_atan2_pytorch.AdamAtan2", {"a": 4 / pi}
    call = {"b2": 0.99, "atan2": True}
    yield case("adam-atan2", program, {"lr": 0.001, **factor}, "adam", call)
    other = {"lr": 0.1, "betas": [0.8, 0.95], "weight_decay": 0.5, **factor}
    yield case(
        "adamw-atan2", program, other, "adamw",
        {"b1": 0.8, "b2": 0.95, "weight_decay": 0.5, "atan2": True},
    )  # fmt: skip
    yield case(
        "adam-atan2-quadratic", program, {"lr": 0.1, **factor}, "adam", call, problem="quadratic"
    )


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import adam_atan2_pytorch
    import numpy as np
    import pytorch_optimizer
    import timm.optim
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    package, _, name = frozen_case.optimizer.partition(".")
    packages = {"timm": timm.optim, "adam_atan2_pytorch": adam_atan2_pytorch}
    program = getattr(packages.get(package, pytorch_optimizer), name)
    plain = {"foreach": False} if "foreach" in signature(program).parameters else {}
    optimizer = program(params, **plain, **frozen_case.settings)
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
        for family in (sign_sgd, adan, adopt, ademamix, laprop, madgrad, adam_atan2)
        for frozen_case in family()
        for dtype in ("float64", "float32")
    ]
    names = ("timm", "pytorch-optimizer", "adam-atan2-pytorch")
    programs = ", ".join(f"{name} {version(name)}" for name in names)
    made_with = f"{programs}, torch {version('torch')}, Python {platform.python_version()}"
    write("pytorch_programs", made_with, frozen)


if __name__ == "__main__":
    main()
