"""Freeze trajectories of NorMuon, Scion and SOAP: Python 3.11, torch 2.13.0, on the CPU.

The program is pytorch-optimizer 4.1.0 (https://github.com/kozistr/pytorch_optimizer, Apache 2.0),
which equals their authors' programs (github.com/zichongli5/NorMuon, github.com/LIONS-EPFL/scion,
github.com/nikhilvyas/SOAP). From the repository root, this writes matrix.npz and soap.npz, and
the .json of each:

    python -m tests.golden.make_matrix

It takes Newton and Schulz's steps in bfloat16, which has three digits: here they are in the type of
the parameters. Its matrices are [outputs, inputs], so that it is given those of the frozen inputs
transposed. It divides by the larger of the norm and 1e-7, the authors by their sum: `ns_eps` is 0.
What is no matrix goes through its AdamW, in NorMuon, at the rate of the matrices times
`otherwise_rate`. Its SOAP takes QR in float32: here it is in the type of the parameters, too.
"""

from __future__ import annotations

import platform

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict) -> Case:
    call = {"learning_rate": settings["lr"], **kwargs}
    call |= {} if optimizer == "SOAP" else {"ns_eps": 0.0}
    return Case(name, optimizer, settings, {"factory": factory, "kwargs": call})


def cases():
    yield case("normuon", "NorMuon", {"lr": 0.02}, "normuon", {"otherwise_rate": 0.015})
    yield case(
        "normuon-decay", "NorMuon",
        {"lr": 0.05, "momentum": 0.8, "beta2": 0.7, "weight_decay": 0.1, "nesterov": False},
        "normuon",
        {"beta": 0.8, "b2": 0.7, "weight_decay": 0.1, "nesterov": False, "otherwise_rate": 0.5},
    )  # fmt: skip
    yield case("scion", "SCION", {"lr": 0.05, "constraint": True}, "scion", {})
    yield case(
        "scion-unconstrained", "SCION", {"lr": 0.02, "momentum": 0.4, "scale": 3.0},
        "scion", {"b1": 0.6, "radius": 3.0, "weight_decay": 0.0},
    )  # fmt: skip
    yield case("soap", "SOAP", {"lr": 0.02}, "soap", {})
    yield case(
        "soap-one-side", "SOAP",
        {"lr": 0.05, "betas": (0.8, 0.9), "shampoo_beta": 0.7, "eps": 1e-3, "weight_decay": 0.0,
         "precondition_frequency": 3, "max_precondition_dim": 3},
        "soap",
        {"b1": 0.8, "b2": 0.9, "shampoo_beta": 0.7, "eps": 1e-3, "weight_decay": 0.0,
         "precondition_frequency": 3, "max_precond_dim": 3},
    )  # fmt: skip


def optimizer(frozen_case: Case, matrices: list, others: list):
    import pytorch_optimizer

    if frozen_case.optimizer == "SOAP":
        return pytorch_optimizer.SOAP([*matrices, *others], **frozen_case.settings)
    settings = {**frozen_case.settings, "foreach": False}
    if frozen_case.optimizer == "SCION":
        return pytorch_optimizer.SCION([*matrices, *others], **settings)
    rate = settings["lr"] * frozen_case.call["kwargs"]["otherwise_rate"]
    decay = settings.get("weight_decay", 0.0)
    rest = {"lr": rate, "betas": (0.9, 0.95), "eps": 1e-10, "weight_decay": decay}
    groups = [{"params": matrices, "use_muon": True}, {"params": others, "use_muon": False, **rest}]
    groups = [group for group in groups if group["params"]]
    return pytorch_optimizer.NorMuon(groups, **settings)


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch
    from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5

    defaults = zero_power_via_newton_schulz_5.__defaults__
    zero_power_via_newton_schulz_5.__defaults__ = (*defaults[:-1], getattr(torch, dtype))
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0.T))) for _, p0, _ in given]
    matrices = [p for p in params if p.ndim == 2]
    stepper = optimizer(frozen_case, matrices, [p for p in params if p.ndim != 2])
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy().T), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g.T))
        stepper.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().T.copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    from importlib.metadata import version

    import torch

    to = torch.Tensor.to

    def to_at_least(x, *args, **kwargs):
        wide = x.dtype == torch.float64 and args[:1] == (torch.float32,)
        return x if wide else to(x, *args, **kwargs)

    torch.Tensor.to = to_at_least

    frozen = [
        (frozen_case, dtype, *run(frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        f"pytorch-optimizer {version('pytorch-optimizer')}, Python {platform.python_version()}, "
        f"torch {version('torch')}"
    )
    for source, wanted in (("matrix", False), ("soap", True)):
        write(source, made_with, [x for x in frozen if (x[0].optimizer == "SOAP") == wanted])


if __name__ == "__main__":
    main()
