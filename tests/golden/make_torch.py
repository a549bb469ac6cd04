"""Freeze trajectories of torch.optim: Python 3.11, torch 2.13.0 (BSD-3-Clause), on the CPU.

    python -m tests.golden.make_torch    # from the repository root: writes torch.npz, torch.json

`foreach=False`: the code that is frozen is the one for single tensors. In the float64 runs torch's
default type is float64 too, because NAdam keeps the product of its momenta in the default type.
"""

from __future__ import annotations

import platform

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name, optimizer, settings, factory, kwargs, *, chain=0.0, decoupled=0.0, **more):
    call = {"factory": factory, "kwargs": {"learning_rate": settings["lr"], **kwargs}}
    if "rate" in more:
        call["kwargs"]["learning_rate"] = more.pop("rate")
    if chain:
        call["chain_weight_decay"] = chain
    if decoupled:
        call["decoupled_weight_decay"] = decoupled
    call |= {name: more.pop(name) for name in ("evaluated", "call") if name in more}
    return Case(name, optimizer, settings, call, **more)


def exponential(lr, gamma):
    """`ExponentialLR(gamma)` and the schedule that means the same."""
    kwargs = {"init_value": lr, "transition_steps": 1, "decay_rate": gamma}
    return {
        "schedule": {"scheduler": "ExponentialLR", "gamma": gamma},
        "rate": {"schedule": "exponential_decay", "kwargs": kwargs},
    }


def sgd():
    yield case("sgd-plain", "SGD", {"lr": 0.1}, "sgd", {})
    yield case("sgd-l2", "SGD", {"lr": 0.1, "weight_decay": 0.05}, "sgd", {}, chain=0.05)
    heavy = {"lr": 0.01, "momentum": 0.9}
    yield case("sgd-momentum", "SGD", heavy, "sgd", {"momentum": 0.9})
    yield case(
        "sgd-momentum-l2", "SGD", heavy | {"weight_decay": 0.1}, "sgd", {"momentum": 0.9}, chain=0.1
    )
    nesterov = {"momentum": 0.8, "nesterov": True}
    yield case("sgd-nesterov", "SGD", {"lr": 0.02, **nesterov}, "sgd", nesterov)
    yield case(
        "sgd-nesterov-l2",
        "SGD",
        {"lr": 0.02, "weight_decay": 0.01, **nesterov},
        "sgd",
        nesterov,
        chain=0.01,
    )
    yield case(
        "sgd-momentum-decaying-rate", "SGD", heavy, "sgd", {"momentum": 0.9},
        **exponential(0.01, 0.9),
    )  # fmt: skip
    yield case(
        "sgd-quadratic", "SGD", heavy | {"lr": 0.1}, "sgd", {"momentum": 0.9}, problem="quadratic"
    )


def adagrad():
    same = {"initial_accumulator_value": 0.0, "eps": 1e-10, "eps_in_sqrt": False}
    yield case("adagrad-default", "Adagrad", {"lr": 0.01}, "adagrad", same)
    yield case("adagrad-eps", "Adagrad", {"lr": 0.1, "eps": 1e-2}, "adagrad", same | {"eps": 1e-2})
    start = {"initial_accumulator_value": 0.1, "eps": 1e-7}
    yield case("adagrad-initial", "Adagrad", {"lr": 0.1, **start}, "adagrad", same | start)
    yield case(
        "adagrad-l2", "Adagrad", {"lr": 0.1, "weight_decay": 0.1}, "adagrad", same, chain=0.1
    )
    decay = {"init_value": 0.1, "transition_steps": 1, "decay_rate": 0.5}
    yield case(
        "adagrad-decaying-rate",
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.5},
        "adagrad",
        same,
        schedule={"argument": "lr_decay"},
        rate={"schedule": "inverse_time_decay", "kwargs": decay},
    )
    yield case("adagrad-quadratic", "Adagrad", {"lr": 0.5}, "adagrad", same, problem="quadratic")


def rmsprop():
    same = {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False}
    yield case("rmsprop-default", "RMSprop", {"lr": 0.01}, "rmsprop", same)
    short = {"decay": 0.9, "eps": 1e-3}
    yield case(
        "rmsprop-decay-eps", "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}, "rmsprop",
        same | short,
    )  # fmt: skip
    yield case(
        "rmsprop-l2", "RMSprop", {"lr": 0.01, "weight_decay": 0.1}, "rmsprop", same, chain=0.1
    )
    momentum, centered = {"momentum": 0.9}, {"centered": True}
    yield case("rmsprop-momentum", "RMSprop", {"lr": 0.01, **momentum}, "rmsprop", same | momentum)
    yield case("rmsprop-centered", "RMSprop", {"lr": 0.01, **centered}, "rmsprop", same | centered)
    both = momentum | centered
    yield case(
        "rmsprop-centered-momentum-l2", "RMSprop", {"lr": 0.01, "weight_decay": 0.1, **both},
        "rmsprop", same | both, chain=0.1,
    )  # fmt: skip
    yield case(
        "rmsprop-momentum-decaying-rate", "RMSprop", {"lr": 0.01, **momentum}, "rmsprop",
        same | momentum, **exponential(0.01, 0.9),
    )  # fmt: skip
    yield case(
        "rmsprop-quadratic", "RMSprop", {"lr": 0.01, **both}, "rmsprop", same | both,
        problem="quadratic",
    )  # fmt: skip


def adadelta():
    yield case("adadelta-default", "Adadelta", {"lr": 1.0}, "adadelta", {})
    other = {"rho": 0.95, "eps": 1e-3}
    yield case("adadelta-rho-eps", "Adadelta", {"lr": 0.3, **other}, "adadelta", other)
    yield case(
        "adadelta-l2", "Adadelta", {"lr": 1.0, "weight_decay": 0.1}, "adadelta", {}, chain=0.1
    )
    yield case(
        "adadelta-quadratic", "Adadelta", {"lr": 2.0, **other}, "adadelta", other,
        problem="quadratic",
    )  # fmt: skip


def adam():
    yield case("adam-default", "Adam", {"lr": 0.001}, "adam", {})
    betas = {"b1": 0.8, "b2": 0.95}
    yield case("adam-betas", "Adam", {"lr": 0.1, "betas": [0.8, 0.95]}, "adam", betas)
    yield case("adam-eps", "Adam", {"lr": 0.1, "eps": 1e-2}, "adam", {"eps": 1e-2})
    yield case("adam-l2", "Adam", {"lr": 0.01, "weight_decay": 0.1}, "adam", {}, chain=0.1)
    yield case("adam-decaying-rate", "Adam", {"lr": 0.1}, "adam", {}, **exponential(0.1, 0.9))
    yield case("adam-quadratic", "Adam", {"lr": 0.1}, "adam", {}, problem="quadratic")


def amsgrad():
    on, variant = {"amsgrad": True}, {"variant": "pytorch"}
    betas = {"b1": 0.9, "b2": 0.7}
    yield case("amsgrad-default", "Adam", {"lr": 0.001, **on}, "amsgrad", variant)
    yield case(
        "amsgrad-betas", "Adam", {"lr": 0.1, "betas": [0.9, 0.7], **on}, "amsgrad", variant | betas
    )
    yield case(
        "amsgrad-l2", "Adam", {"lr": 0.1, "betas": [0.9, 0.7], "weight_decay": 0.1, **on},
        "amsgrad", variant | betas, chain=0.1,
    )  # fmt: skip
    yield case(
        "amsgrad-decoupled", "AdamW", {"lr": 0.1, "betas": [0.9, 0.7], "weight_decay": 0.1, **on},
        "amsgrad", variant | betas, decoupled=0.1,
    )  # fmt: skip
    yield case(
        "amsgrad-quadratic", "Adam", {"lr": 0.1, "betas": [0.9, 0.7], **on}, "amsgrad",
        variant | betas, problem="quadratic",
    )  # fmt: skip


def adamw():
    decay = {"weight_decay": 0.01}
    yield case("adamw-default", "AdamW", {"lr": 0.001}, "adamw", decay)
    strong = {"weight_decay": 0.5}
    yield case("adamw-strong", "AdamW", {"lr": 0.1, **strong}, "adamw", strong)
    betas = {"b1": 0.9, "b2": 0.95, "weight_decay": 0.1}
    yield case(
        "adamw-betas-decaying-rate", "AdamW",
        {"lr": 0.1, "betas": [0.9, 0.95], "weight_decay": 0.1}, "adamw", betas,
        **exponential(0.1, 0.8),
    )  # fmt: skip
    yield case(
        "adamw-quadratic", "AdamW", {"lr": 0.1, **strong}, "adamw", strong, problem="quadratic"
    )


def nadam():
    same = {"variant": "pytorch"}
    yield case("nadam-default", "NAdam", {"lr": 0.002}, "nadam", same)
    slow = {"momentum_decay": 0.5}
    yield case("nadam-momentum-decay", "NAdam", {"lr": 0.1, **slow}, "nadam", same | slow)
    yield case(
        "nadam-betas-eps", "NAdam", {"lr": 0.1, "betas": [0.7, 0.9], "eps": 1e-3}, "nadam",
        same | {"b1": 0.7, "b2": 0.9, "eps": 1e-3},
    )  # fmt: skip
    decay = {"weight_decay": 0.1}
    yield case("nadam-l2", "NAdam", {"lr": 0.1, **decay}, "nadam", same, chain=0.1)
    decoupled = {"decoupled_weight_decay": True}
    yield case("nadamw", "NAdam", {"lr": 0.1, **decay, **decoupled}, "nadamw", same | decay)
    yield case(
        "nadamw-momentum-decay", "NAdam", {"lr": 0.01, **slow, "weight_decay": 1.0, **decoupled},
        "nadamw", same | slow | {"weight_decay": 1.0},
    )  # fmt: skip
    yield case("nadam-quadratic", "NAdam", {"lr": 0.1}, "nadam", same, problem="quadratic")


def adamax():
    yield case("adamax-default", "Adamax", {"lr": 0.002}, "adamax", {})
    other = {"b1": 0.8, "b2": 0.9, "eps": 1e-3}
    yield case(
        "adamax-betas-eps", "Adamax", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3}, "adamax", other
    )
    yield case("adamax-l2", "Adamax", {"lr": 0.1, "weight_decay": 0.1}, "adamax", {}, chain=0.1)
    yield case("adamax-quadratic", "Adamax", {"lr": 0.1}, "adamax", {}, problem="quadratic")


def radam():
    """Mostly with an eps that no root feels: PyTorch adds it before the bias correction."""
    tiny = {"eps": 1e-30}
    yield case("radam-default", "RAdam", {"lr": 0.001, **tiny}, "radam", tiny)
    yield case(
        "radam-betas", "RAdam", {"lr": 0.1, "betas": [0.8, 0.95], **tiny}, "radam",
        {"b1": 0.8, "b2": 0.95, **tiny},
    )  # fmt: skip
    decay = {"lr": 0.01, "weight_decay": 0.1, **tiny}
    yield case("radam-l2", "RAdam", decay, "radam", tiny, chain=0.1)
    yield case(
        "radam-decoupled", "RAdam", decay | {"decoupled_weight_decay": True}, "radam", tiny,
        decoupled=0.1,
    )  # fmt: skip
    corrected = "lambda step: 1e-3 / (1 - 0.95 ** (jnp.asarray(step, float) + 1)) ** 0.5"
    yield case(
        "radam-eps", "RAdam", {"lr": 0.1, "betas": [0.9, 0.95], "eps": 1e-3}, "radam", {},
        call=f"radam(0.1, b2=0.95, eps={corrected})",
    )  # fmt: skip
    yield case("radam-quadratic", "RAdam", {"lr": 0.1, **tiny}, "radam", tiny, problem="quadratic")


def rprop():
    yield case("rprop-default", "Rprop", {"lr": 0.01}, "rprop", {})
    bounds = {"min_step_size": 1e-2, "max_step_size": 0.2}
    yield case(
        "rprop-bounds", "Rprop", {"lr": 0.1, "etas": [0.4, 1.5], "step_sizes": [1e-2, 0.2]},
        "rprop", {"eta_minus": 0.4, "eta_plus": 1.5, **bounds},
    )  # fmt: skip
    yield case("rprop-quadratic", "Rprop", {"lr": 0.1}, "rprop", {}, problem="quadratic")


def asgd():
    settings, ours = {"lr": 0.1, "lambd": 0.1, "t0": 5}, {"lambd": 0.1, "t0": 5}
    yield case("asgd", "ASGD", settings, "asgd", ours)
    yield case("asgd-average", "ASGD", settings, "asgd", ours, evaluated=True)
    early = {"lr": 0.02, "lambd": 0.5, "alpha": 0.6, "t0": 0}
    yield case(
        "asgd-early-average", "ASGD", early, "asgd", {"lambd": 0.5, "alpha": 0.6, "t0": 0},
        evaluated=True,
    )  # fmt: skip
    yield case("asgd-quadratic", "ASGD", {"lr": 0.1}, "asgd", {}, problem="quadratic")


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = getattr(torch.optim, frozen_case.optimizer)(
        params, foreach=False, **frozen_case.settings
    )
    scheduler = None
    if "gamma" in frozen_case.schedule:
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, frozen_case.schedule["gamma"])
    path, rates = {leaf: [] for leaf, _, _ in given}, []
    for index in range(STEPS):
        group = optimizer.param_groups[0]
        rates.append(float(group["lr"]) / (1 + index * group.get("lr_decay", 0.0)))
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            kept = optimizer.state[p]["ax"] if "evaluated" in frozen_case.call else p.detach()
            path[leaf].append(kept.numpy().copy())
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import torch

    frozen = [
        (frozen_case, dtype, *run(frozen_case, dtype))
        for family in (
            sgd,
            adagrad,
            rmsprop,
            adadelta,
            adam,
            amsgrad,
            adamw,
            nadam,
            adamax,
            radam,
            rprop,
            asgd,
        )
        for frozen_case in family()
        for dtype in ("float64", "float32")
    ]
    made_with = f"Python {platform.python_version()}, torch {torch.__version__}"
    write("torch", made_with, frozen)


if __name__ == "__main__":
    main()
