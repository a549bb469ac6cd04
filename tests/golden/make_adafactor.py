"""Freeze trajectories of Adafactor of optax and of torch.optim: Python 3.11, CPU.

The programs are `optax.adafactor` (Apache-2.0), which the tests need anyway, and, with torch 2.13.0
(BSD-3-Clause), `torch.optim.Adafactor`. Each is run by itself, from the repository root, and writes
adafactor.npz and adafactor.json, or torch_adafactor.npz and torch_adafactor.json:

    python -m tests.golden.make_adafactor optax
    python -m tests.golden.make_adafactor torch

optax computes 1 - t**-0.8 in float32 whatever the parameters are; here it is patched to be as wide
as these. PyTorch factors all matrices, and multiplies its decay by the rate.
"""

from __future__ import annotations

import platform
import sys
from functools import partial

from tests.golden.freeze import STEPS, Case, leaves, write

RATE = 0.02
SMALL = {"min_dim_size_to_factor": 1}


def of_optax(name: str, settings: dict, **more) -> Case:
    kwargs = {"learning_rate": RATE, **settings}
    if "weight_decay_rate" in kwargs:
        kwargs["weight_decay"] = kwargs.pop("weight_decay_rate")
    call = {"factory": "adafactor", "kwargs": kwargs}
    return Case(name, "adafactor", {"learning_rate": RATE, **settings}, call, **more)


def optax_cases():
    yield of_optax("adafactor-default", {})
    yield of_optax("adafactor-factored", SMALL)
    yield of_optax("adafactor-quadratic", SMALL, problem="quadratic")
    yield of_optax("adafactor-other", {
        **SMALL, "decay_rate": 0.5, "multiply_by_parameter_scale": False,
        "clipping_threshold": 2.0, "momentum": 0.9, "weight_decay_rate": 0.01, "eps": 1e-6,
    })  # fmt: skip
    yield of_optax("adafactor-whole", {"factored": False, "clipping_threshold": None})


def of_torch(name: str, settings: dict, kwargs: dict, **more) -> Case:
    kwargs = {"learning_rate": settings.get("lr", 0.01), **SMALL, **kwargs}
    return Case(name, "Adafactor", settings, {"factory": "adafactor", "kwargs": kwargs}, **more)


def torch_cases():
    yield of_torch("torch-default", {}, {})
    yield of_torch("torch-quadratic", {}, {}, problem="quadratic")
    yield of_torch(
        "torch-other",
        {"lr": 0.1, "beta2_decay": -0.5, "eps": [None, 0.1], "d": 2.0, "weight_decay": 0.1},
        {"decay_rate": 0.5, "min_scale": 0.1, "clipping_threshold": 2.0, "weight_decay": 0.01},
    )
    floor = {"eps": 0.05, "variant": "pytorch"}
    yield of_torch("torch-floor", {"eps": [0.05, 1e-3]}, floor)


def run_optax(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import jax
    import numpy as np
    import optax
    from optax._src import factorized

    def decay(step, rate):
        return 1 - (step + 1).astype(dtype) ** -rate

    whole = factorized.scale_by_factored_rms
    settings = dict(frozen_case.settings)
    if "momentum" in settings:
        settings["dtype_momentum"] = dtype
    with jax.enable_x64(dtype == "float64"):
        factorized.scale_by_factored_rms = partial(whole, decay_rate_fn=decay)
        tx = optax.adafactor(**settings)
        factorized.scale_by_factored_rms = whole
        given = list(leaves(frozen_case, dtype))
        params = {leaf: jax.numpy.asarray(p0) for leaf, p0, _ in given}
        state = tx.init(params)
        path = {leaf: [] for leaf in params}
        for index in range(STEPS):
            grads = {
                leaf: jax.numpy.asarray(gradient(index, np.asarray(params[leaf])), dtype=dtype)
                for leaf, _, gradient in given
            }
            updates, state = tx.update(grads, state, params)
            params = jax.tree.map(jax.numpy.add, params, updates)
            for leaf, p in params.items():
                path[leaf].append(np.asarray(p))
    return {leaf: np.stack(values) for leaf, values in path.items()}, [RATE] * STEPS


def run_torch(frozen_case: Case, dtype: str):
    """The same by torch.optim."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = torch.optim.Adafactor(params, **frozen_case.settings)
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().copy())
    rates = [frozen_case.call["kwargs"]["learning_rate"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    if sys.argv[1] == "optax":
        import jax
        import optax

        source, cases, run = "adafactor", optax_cases, run_optax
        programs = f"optax {optax.__version__}, jax {jax.__version__}"
    else:
        import torch

        source, cases, run = "torch_adafactor", torch_cases, run_torch
        programs = f"torch {torch.__version__}"
    frozen = [
        (each, dtype, *run(each, dtype)) for each in cases() for dtype in ("float64", "float32")
    ]
    write(source, f"{programs}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
