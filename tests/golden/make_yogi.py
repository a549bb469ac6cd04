"""Freeze trajectories of optax's Yogi: Python 3.11, jax 0.10.2, optax 0.2.8, CPU.

The program is `optax.yogi` (Apache-2.0), which the tests need anyway. From the repository root,
this writes yogi.npz and yogi.json:

    python -m tests.golden.make_yogi

In float64 only: in float32, optax's 1 - 0.999^t is 6e-6 off at the first step.
"""

from __future__ import annotations

import platform

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, **more) -> Case:
    return Case(name, "yogi", settings, {"factory": "yogi", "kwargs": settings}, **more)


def cases():
    yield case("yogi-default", {"learning_rate": 1e-2})
    yield case("yogi-other", {"learning_rate": 0.05, "b1": 0.7, "b2": 0.95, "eps": 1e-4})
    yield case("yogi-quadratic", {"learning_rate": 0.1}, problem="quadratic")


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import jax
    import numpy as np
    import optax

    with jax.enable_x64(dtype == "float64"):
        given = list(leaves(frozen_case, dtype))
        params = {leaf: jax.numpy.asarray(p0) for leaf, p0, _ in given}
        tx = optax.yogi(**frozen_case.settings)
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
    rates = [frozen_case.settings["learning_rate"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import jax
    import optax

    frozen = [(each, "float64", *run(each, "float64")) for each in cases()]
    made_with = (
        f"optax {optax.__version__}, jax {jax.__version__}, Python {platform.python_version()}"
    )
    write("yogi", made_with, frozen)


if __name__ == "__main__":
    main()
