"""Freeze trajectories of optimizers that choose their rate, by their authors: Python 3.11, CPU.

The programs are packages, none of which this repository depends on:

    torch 2.13.0 (BSD-3-Clause)
    dog-optimizer 1.0.3, prodigyopt 1.1.2, dadaptation 3.2 (MIT)
    momo-opt 0.1.0, parameterfree 0.0.1 (MIT)
    schedulefree 1.4.1, mechanic-pytorch 0.0.1 (Apache-2.0)

With them, NumPy and nothing else installed, this writes lr_free.npz and lr_free.json, from the
repository root:

    python -m tests.golden.make_lr_free

A case whose call says `evaluated` holds the parameters to evaluate with: the average of DoG, and
schedule-free's x. Where settings have `mechanize`, an optimizer of torch is wrapped in Mechanic
with what stands there, and the call has it under `base`. `recomputed` says that Mechanic did not
keep where the optimizer alone would have gone, but read it off the parameters: no call means the
same.
"""

from __future__ import annotations

import contextlib
import io
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from tests.golden.freeze import STEPS, Case, leaves, write

PACKAGES = (
    "torch", "dog-optimizer", "prodigyopt", "dadaptation", "schedulefree", "momo-opt",
    "parameterfree", "mechanic-pytorch",
)  # fmt: skip


def both(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict, **more) -> Iterator:
    """The case on both problems."""
    call = {"factory": factory, "kwargs": {"learning_rate": 1.0, **kwargs}, **more}
    yield Case(name, optimizer, settings, call)
    yield Case(f"{name}-quadratic", optimizer, settings, call, problem="quadratic")


def on_quadratic(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict, **more):
    call = {"factory": factory, "kwargs": {"learning_rate": 1.0, **kwargs}, **more}
    yield Case(f"{name}-quadratic", optimizer, settings, call, problem="quadratic")


def mechanized(
    name: str, optimizer: str, settings: dict, tuner: dict, base: dict, kwargs: dict, **more
) -> Iterator:
    """An optimizer of torch in Mechanic, on both problems."""
    settings = {**settings, "mechanize": tuner}
    kwargs = {**kwargs, "variant": "pytorch"}
    call = {"factory": "mechanize", "base": base, "kwargs": kwargs, **more}
    yield Case(name, optimizer, settings, call)
    yield Case(f"{name}-quadratic", optimizer, settings, call, problem="quadratic")


def cases() -> Iterator[Case]:
    yield from both("dog", "DoG", {}, "dog", {})
    large = {"reps_rel": 1e-2, "weight_decay": 0.1}
    ours = {"init_step": ("heuristic", 1e-2), "weight_decay": 0.1}
    yield from both("dog-large", "DoG", large, "dog", ours)
    yield from both("dog-first-rate", "DoG", {"init_eta": 1e-2}, "dog",
                    {"init_step": ("learning_rate", 1e-2)})  # fmt: skip
    yield from both("dog-average", "DoG", large, "dog", ours, evaluated=True)

    yield from both("prodigy", "Prodigy", {}, "prodigy", {})
    settings = {"d0": 1e-3, "betas": (0.8, 0.99), "weight_decay": 0.1, "d_coef": 0.5}
    ours = {"estim_lr0": 1e-3, "betas": (0.8, 0.99), "weight_decay": 0.1, "estim_lr_coef": 0.5}
    yield from both("prodigy-large", "Prodigy", settings, "prodigy", ours)
    settings = {"d0": 1e-2, "use_bias_correction": True, "safeguard_warmup": True,
                "growth_rate": 1.1}  # fmt: skip
    ours = {"estim_lr0": 1e-2, "bias_correction": True, "safeguard_warmup": True,
            "growth_rate": 1.1}  # fmt: skip
    yield from both("prodigy-guarded", "Prodigy", settings, "prodigy", ours)

    yield from both("dadapt-sgd", "DAdaptSGD", {}, "dadapt_sgd", {})
    settings = {"d0": 1e-2, "momentum": 0.9, "weight_decay": 0.1, "growth_rate": 1.2}
    ours = {"estim_lr0": 1e-2, "momentum": 0.9, "weight_decay": 0.1, "growth_rate": 1.2}
    yield from both("dadapt-sgd-momentum", "DAdaptSGD", settings, "dadapt_sgd", ours)
    yield from both("dadapt-adagrad", "DAdaptAdaGrad", {}, "dadapt_adagrad", {})
    yield from both("dadapt-adagrad-momentum", "DAdaptAdaGrad", settings, "dadapt_adagrad", ours)
    yield from both("dadapt-adam", "DAdaptAdam", {}, "dadapt_adamw", {})
    settings = {"d0": 1e-2, "betas": (0.8, 0.99), "weight_decay": 0.1, "decouple": True,
                "use_bias_correction": True, "growth_rate": 1.2}  # fmt: skip
    ours = {"estim_lr0": 1e-2, "betas": (0.8, 0.99), "weight_decay": 0.1,
            "bias_correction": True, "growth_rate": 1.2}  # fmt: skip
    yield from both("dadapt-adam-decay", "DAdaptAdam", settings, "dadapt_adamw", ours)

    for evaluated in ("", "-average"):
        more = {"evaluated": True} if evaluated else {}
        yield from both(f"schedule-free-sgd{evaluated}", "SGDScheduleFreeReference",
                        {"lr": 0.25, "warmup_steps": 8, "weight_decay": 0.1}, "schedule_free_sgd",
                        {"learning_rate": 0.25, "warmup_steps": 8, "weight_decay": 0.1},
                        **more)  # fmt: skip
        yield from both(f"schedule-free-adamw{evaluated}", "AdamWScheduleFreeReference",
                        {"lr": 0.125, "betas": (0.95, 0.99), "weight_decay": 0.1,
                         "warmup_steps": 4}, "schedule_free_adamw",
                        {"learning_rate": 0.125, "b1": 0.95, "b2": 0.99, "weight_decay": 0.1,
                         "warmup_steps": 4}, **more)  # fmt: skip
        yield from both(f"schedule-free-radam{evaluated}", "RAdamScheduleFree",
                        {"lr": 0.125, "betas": (0.9, 0.98), "weight_decay": 0.1},
                        "schedule_free_radam",
                        {"learning_rate": 0.125, "b2": 0.98, "weight_decay": 0.1},
                        **more)  # fmt: skip

    yield from on_quadratic("momo", "Momo", {}, "momo", {})
    settings = {"weight_decay": 0.1, "lb": -1.0, "use_fstar": True}
    ours = {"weight_decay": 0.1, "lower_bound": -1.0, "adapt_lower_bound": True}
    yield from on_quadratic("momo-bound", "Momo", settings, "momo", ours)
    yield from on_quadratic("momo-corrected", "Momo", {"bias_correction": True, **settings},
                            "momo", {"bias_correction": True, **ours})  # fmt: skip
    yield from on_quadratic("momo-adam", "MomoAdam", {"lr": 0.5}, "momo_adam",
                            {"learning_rate": 0.5})  # fmt: skip
    yield from on_quadratic("momo-adam-bound", "MomoAdam", {"lr": 0.5, **settings}, "momo_adam",
                            {"learning_rate": 0.5, **ours})  # fmt: skip

    yield from both("cocob", "COCOB", {}, "cocob", {})
    settings = {"alpha": 10.0, "weight_decay": 0.1}
    yield from both("cocob-decay", "COCOB", settings, "cocob", settings)

    yield from mechanized("mechanic-sgd", "SGD", {"lr": 1.0}, {"store_delta": True},
                          {"factory": "sgd", "kwargs": {"learning_rate": 1.0}},
                          {"s_init": 1e-8})  # fmt: skip
    yield from mechanized("mechanic-momentum", "SGD", {"lr": 0.5, "momentum": 0.9},
                          {"s_decay": 0.1, "s_init": 1e-3, "betas": (0.9, 0.99, 0.999),
                           "eps": 1e-6, "store_delta": True},
                          {"factory": "sgd", "kwargs": {"learning_rate": 0.5, "momentum": 0.9}},
                          {"weight_decay": 0.1, "s_init": 1e-3, "num_betas": 3,
                           "eps": 1e-6})  # fmt: skip
    yield from mechanized("mechanic-adam", "Adam", {"lr": 1.0},
                          {"s_decay": 0.0, "s_init": 1e-6, "store_delta": True},
                          {"factory": "adam", "kwargs": {"learning_rate": 1.0}},
                          {"weight_decay": 0.0})  # fmt: skip
    decay = {"weight_decay": 0.1}
    yield from mechanized("mechanic-adamw", "AdamW", {"lr": 0.5, **decay},
                          {"s_init": 1e-4, "store_delta": True},
                          {"factory": "adamw", "kwargs": {"learning_rate": 0.5, **decay}},
                          {"s_init": 1e-4})  # fmt: skip
    yield from mechanized("mechanic-recomputed", "SGD", {"lr": 1.0}, {},
                          {"factory": "sgd", "kwargs": {"learning_rate": 1.0}},
                          {"s_init": 1e-8}, recomputed=True)  # fmt: skip


def loss(diagonal: Any, target: Any, p: Any) -> Any:
    """The loss whose gradient the quadratic problem has."""
    return (diagonal * (p - target) ** 2).sum() / 2


def run(case: Case, dtype: str) -> tuple[dict[str, np.ndarray], list[float]]:
    import dadaptation
    import dog
    import mechanic_pytorch
    import momo
    import parameterfree
    import prodigyopt
    import schedulefree
    import torch

    from tests.golden import inputs

    modules = (dog, prodigyopt, dadaptation, schedulefree, momo, parameterfree, torch.optim)
    kind: Callable = next(
        getattr(module, case.optimizer) for module in modules if hasattr(module, case.optimizer)
    )
    settings = dict(case.settings)
    tuner = settings.pop("mechanize", None)
    if tuner is not None:
        kind = mechanic_pytorch.mechanize(kind, **tuner)
    torch.set_default_dtype(getattr(torch, dtype))  # of the scalars that programs make
    given = list(leaves(case, dtype))
    params = {leaf: torch.nn.Parameter(torch.tensor(p0)) for leaf, p0, _ in given}
    module = torch.nn.ParameterDict(params)
    params = dict(module.items())
    averager = dog.PolynomialDecayAverager(module)
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = kind(list(params.values()), **settings)
        switches = hasattr(optimizer, "train")
        path: dict[str, list] = {leaf: [] for leaf in params}
        for index in range(STEPS):
            if switches:
                optimizer.train()
            for leaf, _, gradient in given:
                g = gradient(index, params[leaf].detach().numpy())
                params[leaf].grad = torch.tensor(np.asarray(g, dtype))
            if kind.__module__.startswith("momo"):
                problem = inputs(case.problem, dtype)
                total = sum(
                    loss(problem.diagonal[leaf], problem.target[leaf], p.detach().numpy())
                    for leaf, p in params.items()
                )
                optimizer.step(loss=torch.tensor(np.asarray(total, dtype)))
            else:
                optimizer.step()
            averager.step()
            shown = params
            if case.call.get("evaluated"):
                shown = dict(averager.averaged_model.items()) if not switches else params
                if switches:
                    optimizer.eval()
            for leaf in params:
                path[leaf].append(shown[leaf].detach().numpy().copy())
    rate = case.call.get("base", case.call)["kwargs"]["learning_rate"]
    return {leaf: np.stack(values) for leaf, values in path.items()}, [rate] * STEPS


def main() -> None:
    frozen = [
        (case, dtype, *run(case, dtype)) for case in cases() for dtype in ("float64", "float32")
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    write("lr_free", f"Python {platform.python_version()}, {versions}", frozen)


if __name__ == "__main__":
    main()
