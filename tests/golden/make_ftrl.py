"""Freeze trajectories of FTRL: Python 3.11, torch 2.13.0, on the CPU, in float64.

The programs are pytorch-optimizer 4.1.0 (Apache-2.0) and Keras 3.15.1 (Apache-2.0) with torch as
its backend; neither is part of this repository. With both installed, this writes ftrl.npz and
ftrl.json, from the repository root:

    python -m tests.golden.make_ftrl

Keras's L2 penalty is twice the paper's, and its sum of squares begins with 0.1.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name, optimizer, settings, kwargs, **more):
    rate = settings.get("lr", settings.get("learning_rate"))
    call = {"factory": "ftrl", "kwargs": {"learning_rate": rate, **kwargs}}
    return Case(name, optimizer, settings, call, **more)


def cases():
    ours, keras = "pytorch_optimizer.FTRL", "keras.optimizers.Ftrl"
    yield case("ftrl-plain", ours, {"lr": 0.1}, {"beta": 0.0})
    yield case(
        "ftrl-sparse", ours, {"lr": 0.3, "beta": 1.0, "lambda_1": 0.05, "lambda_2": 0.1},
        {"l1": 0.05, "l2": 0.1},
    )  # fmt: skip
    yield case(
        "ftrl-quadratic", ours, {"lr": 0.5, "beta": 0.5, "lambda_1": 0.05},
        {"beta": 0.5, "l1": 0.05}, problem="quadratic",
    )  # fmt: skip
    yield case(
        "ftrl-keras", keras,
        {"learning_rate": 0.3, "beta": 1.0, "l1_regularization_strength": 0.02,
         "l2_regularization_strength": 0.05},
        {"l1": 0.02, "l2": 0.1, "initial_accumulator_value": 0.1},
    )  # fmt: skip


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np

    given = list(leaves(frozen_case, dtype))
    stepping = keras_steps if frozen_case.optimizer.startswith("keras") else torch_steps
    path = {leaf: [] for leaf, _, _ in given}
    for values in stepping(frozen_case, given, dtype):
        for (leaf, _, _), value in zip(given, values, strict=True):
            path[leaf].append(np.array(value))
    rates = [frozen_case.call["kwargs"]["learning_rate"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def torch_steps(frozen_case: Case, given: list, dtype: str):
    """The parameters after each step of a program in PyTorch."""
    import numpy as np
    import pytorch_optimizer
    import torch

    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0))) for _, p0, _ in given]
    optimizer = pytorch_optimizer.FTRL(params, foreach=False, **frozen_case.settings)
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
        yield [p.detach().numpy() for p in params]


def keras_steps(frozen_case: Case, given: list, dtype: str):
    """The same of one in Keras."""
    import keras
    import numpy as np

    keras.backend.set_floatx(dtype)
    params = [keras.Variable(np.array(p0)) for _, p0, _ in given]
    optimizer = keras.optimizers.Ftrl(**frozen_case.settings)
    for index in range(STEPS):
        before = [keras.ops.convert_to_numpy(p) for p in params]
        grads = [
            keras.ops.convert_to_tensor(np.asarray(gradient(index, p), dtype=dtype))
            for (_, _, gradient), p in zip(given, before, strict=True)
        ]
        optimizer.apply(grads, params)
        yield [keras.ops.convert_to_numpy(p) for p in params]


def main() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    frozen = [(each, "float64", *run(each, "float64")) for each in cases()]
    names = ("pytorch-optimizer", "keras", "torch")
    programs = ", ".join(f"{name} {version(name)}" for name in names)
    write("ftrl", f"{programs}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
