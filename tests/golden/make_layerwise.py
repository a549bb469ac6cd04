"""Freeze trajectories of what steps by norms of whole arrays: Python 3.11, torch 2.13.0, CPU.

The programs of LAMB, LARS and big_vision's Adafactor are those of timm 1.0.31 (Apache-2.0): with a
ratio for parameters that do not decay, LAMB's without the clip of all gradients by their global
norm, which is on by default there, and Adafactor's with a momentum in the type of the parameters.
Those of NovoGrad, Fromage, SM3 and OrthoGrad are of pytorch-optimizer 4.1.0 (Apache-2.0), those of
CAME and Adam-mini are their authors', came-pytorch 0.1.3 (MIT) and adam-mini 1.1.1. They are not
part of this repository. With them and NumPy installed, this writes layerwise.npz and
layerwise.json, from the repository root:

    python -m tests.golden.make_layerwise
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write

BIG_VISION = {
    "min_dim_size_to_factor": 2, "multiply_by_parameter_scale": False, "clipping_threshold": None,
    "momentum": 0.9, "variant": "big_vision",
}  # fmt: skip
PACKAGES = ("timm", "pytorch_optimizer", "came-pytorch", "adam-mini", "torch")


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
    every = {"always_adapt": True, "foreach": False}
    yield case(
        "lars-decay", "timm.Lars", {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.01, **every},
        {"weight_decay": 0.01, "eps": 1e-8},
    )  # fmt: skip
    yield case(
        "lars-nesterov", "timm.Lars",
        {
            **every, "lr": 0.5, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True,
            "trust_coeff": 0.01,
        },
        {
            "weight_decay": 0.1, "trust_coefficient": 0.01, "eps": 1e-8, "momentum": 0.8,
            "nesterov": True,
        },
    )  # fmt: skip
    yield case(
        "lars-quadratic", "timm.Lars", {"lr": 1.0, "trust_coeff": 0.05, "eps": 0.1, **every},
        {"trust_coefficient": 0.05, "eps": 0.1, "momentum": None}, problem="quadratic",
    )  # fmt: skip
    yield case(
        "adafactor-big-vision", "timm.AdafactorBigVision",
        {"lr": 0.01, "min_dim_size_to_factor": 2, "weight_decay": 0.1, "beta2_cap": 0.8},
        {**BIG_VISION, "weight_decay": 0.1, "max_decay": 0.8},
    )  # fmt: skip
    yield case(
        "adafactor-big-vision-quadratic", "timm.AdafactorBigVision",
        {"lr": 0.05, "min_dim_size_to_factor": 2, "clipping_threshold": 0.5},
        {**BIG_VISION, "max_decay": 0.999, "clipping_threshold": 0.5}, problem="quadratic",
    )  # fmt: skip
    yield case(
        "novograd-decay", "NovoGrad",
        {"lr": 0.01, "betas": [0.9, 0.25], "eps": 1e-6, "weight_decay": 0.1, "foreach": False},
        {"weight_decay": 0.1},
    )  # fmt: skip
    yield case(
        "novograd-quadratic", "NovoGrad",
        {"lr": 0.1, "betas": [0.7, 0.9], "eps": 0.1, "foreach": False},
        {"b1": 0.7, "b2": 0.9, "eps": 0.1}, problem="quadratic",
    )  # fmt: skip
    fromage = {"lr": 0.05, "foreach": False}
    yield case("fromage-gradients", "Fromage", fromage, {"min_norm": 0.0})
    yield case("fromage-quadratic", "Fromage", fromage, {"min_norm": 0.0}, problem="quadratic")
    yield case(
        "sm3-momentum", "SM3", {"lr": 0.1, "momentum": 0.9, "eps": 1e-8, "foreach": False}, {}
    )
    yield case(
        "sm3-quadratic", "SM3", {"lr": 0.3, "eps": 1e-30, "foreach": False},
        {"momentum": 0.0, "eps": 1e-30}, problem="quadratic",
    )  # fmt: skip


def wrapped():
    yield case("came-decay", "CAME", {"lr": 0.01, "weight_decay": 0.1}, {"weight_decay": 0.1})
    yield case(
        "came-quadratic", "CAME",
        {"lr": 0.05, "betas": [0.8, 0.9, 0.95], "eps": [1e-6, 1e-3], "clip_threshold": 0.5},
        {
            "b1": 0.8, "b2": 0.9, "b3": 0.95, "eps": 1e-6, "eps_instability": 1e-3,
            "clipping_threshold": 0.5,
        },
        problem="quadratic",
    )  # fmt: skip
    yield case(
        "adam_mini-blocks", "Adam_mini", {"lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.1},
        {"b2": 0.95, "weight_decay": 0.1, "layer_axis": 0},
    )  # fmt: skip
    yield case(
        "adam_mini-quadratic", "Adam_mini", {"lr": 0.1, "eps": 1e-3},
        {"eps": 1e-3, "layer_axis": None}, problem="quadratic",
    )  # fmt: skip
    call = {"factory": "sgd", "kwargs": {"learning_rate": 0.1}, "before": "orthograd()"}
    yield Case("orthograd-quadratic", "OrthoGrad", {"lr": 0.1}, call, problem="quadratic")


def adam_mini(params: dict, **settings):
    """The authors' program, whose blocks go by names: a `linear` has one for each row."""
    from adam_mini import Adam_mini

    named = [("linear" if name == "matrix" else name, p) for name, p in params.items()]
    return Adam_mini(named, **settings, verbose=False)


def orthograd(params: dict, **settings):
    import torch
    from pytorch_optimizer import OrthoGrad

    return OrthoGrad(torch.optim.SGD(params.values(), **settings), foreach=True)


def programs() -> dict:
    """Their classes, by the names that cases call them."""
    from came_pytorch import CAME
    from pytorch_optimizer import SM3, Fromage, NovoGrad
    from timm.optim import AdafactorBigVision, Lamb, Lars

    return {
        "timm.AdafactorBigVision": AdafactorBigVision,
        "timm.Lamb": Lamb,
        "timm.Lars": Lars,
        "NovoGrad": NovoGrad,
        "Fromage": Fromage,
        "SM3": SM3,
        "CAME": CAME,
    }


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    settings = dict(frozen_case.settings)
    if frozen_case.optimizer == "timm.AdafactorBigVision":
        settings["momentum_dtype"] = getattr(torch, dtype)
    by_name = {"Adam_mini": adam_mini, "OrthoGrad": orthograd}.get(frozen_case.optimizer)
    if by_name is None:
        optimizer = programs()[frozen_case.optimizer](params, **settings)
    else:
        names = [leaf for leaf, _, _ in given]
        optimizer = by_name(dict(zip(names, params, strict=True)), **settings)
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
        for frozen_case in (*cases(), *wrapped())
        for dtype in ("float64", "float32")
    ]
    used = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    write("layerwise", f"{used}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
