"""Freeze trajectories of AlgoPerf's NAdamW, the init2winit form: Python 3.11, jax 0.10.2, CPU.

The program is `algorithms/archived_paper_baselines/nadamw/jax/submission.py` of
github.com/mlcommons/algorithmic-efficiency at commit 2c90454fc05d5bdf3598b0c7651e611f132a7060
(Apache-2.0; it says there that it is forked from google/init2winit). It is not part of this
repository: give the path of a copy of that file. From the repository root, this writes nadamw.npz
and nadamw.json:

    python -m tests.golden.make_nadamw <path of submission.py>

Only its `nadamw` is run. The benchmark's own package, `algoperf`, which the file imports for its
types, is replaced by a stand-in, so that it need not be installed.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import types
from typing import Any

from tests.golden.freeze import STEPS, Case, leaves, write


class Anything(types.ModuleType):
    """A module in which every name is `typing.Any`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Any


def case(name, settings, kwargs, factory="nadamw", **more):
    call = {
        "factory": factory,
        "kwargs": {"learning_rate": settings["learning_rate"], "variant": "init2winit", **kwargs},
    }
    return Case(name, "nadamw", settings, call, **more)


def cases():
    yield case("nadamw-plain", {"learning_rate": 0.001}, {}, factory="nadam")
    decay = {"weight_decay": 0.1}
    yield case("nadamw-decay", {"learning_rate": 0.1, **decay}, decay)
    other = {"b1": 0.93266, "b2": 0.9955, "eps": 1e-3, "eps_root": 1e-6, "weight_decay": 0.08}
    yield case("nadamw-betas-eps", {"learning_rate": 0.01, **other}, other)
    yield case("nadamw-quadratic", {"learning_rate": 0.1, **decay}, decay, problem="quadratic")


def run(nadamw, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import jax
    import numpy as np
    import optax

    with jax.enable_x64(dtype == "float64"):
        given = list(leaves(frozen_case, dtype))
        params = {leaf: jax.numpy.asarray(p0) for leaf, p0, _ in given}
        tx = nadamw(**frozen_case.settings)
        state = tx.init(params)
        path = {leaf: [] for leaf in params}
        for index in range(STEPS):
            grads = {
                leaf: jax.numpy.asarray(gradient(index, np.asarray(params[leaf])), dtype=dtype)
                for leaf, _, gradient in given
            }
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            for leaf, p in params.items():
                path[leaf].append(np.asarray(p))
    return (
        {leaf: np.stack(values) for leaf, values in path.items()},
        [frozen_case.settings["learning_rate"]] * STEPS,
    )


def main() -> None:
    import jax
    import optax

    algoperf = types.ModuleType("algoperf")
    algoperf.spec = Anything("spec")
    algoperf.jax_sharding_utils = Anything("jax_sharding_utils")
    sys.modules["algoperf"] = algoperf
    spec = importlib.util.spec_from_file_location("submission", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frozen = [
        (frozen_case, dtype, *run(module.nadamw, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        "mlcommons/algorithmic-efficiency 2c90454fc05d5bdf3598b0c7651e611f132a7060 "
        "algorithms/archived_paper_baselines/nadamw/jax/submission.py, "
        f"Python {platform.python_version()}, jax {jax.__version__}, optax {optax.__version__}"
    )
    write("nadamw", made_with, frozen)


if __name__ == "__main__":
    main()
