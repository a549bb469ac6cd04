"""Freeze trajectories of optax's, of what has no other program: jax 0.10.2, optax 0.2.8, CPU.

The programs are `optax` and `optax.contrib` (Apache-2.0), which the tests need anyway. From the
repository root, this writes optax.npz and optax.json:

    python -m tests.golden.make_optax

In float64 only: in float32, optax's 1 - 0.999^t is 6e-6 off at the first step.
"""

from __future__ import annotations

import platform

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, program: str, settings: dict, **more) -> Case:
    call = {"factory": program.removeprefix("contrib."), "kwargs": settings}
    return Case(name, program, settings, call, **more)


def adamaxw():
    yield case("adamaxw-default", "adamaxw", {"learning_rate": 0.002})
    other = {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.2}
    yield case("adamaxw-decay", "adamaxw", {"learning_rate": 0.1, **other})
    yield case("adamaxw-quadratic", "adamaxw", {"learning_rate": 0.1}, problem="quadratic")


def simplified_ademamix():
    program = "contrib.simplified_ademamix"
    yield case("simplified-ademamix-default", program, {"learning_rate": 1e-4})
    other = {"b1": 0.8, "b2": 0.9, "alpha": 3.0, "eps": 1e-3, "weight_decay": 0.2}
    yield case("simplified-ademamix-decay", program, {"learning_rate": 0.01, **other})
    yield case(
        "simplified-ademamix-quadratic", program, {"learning_rate": 0.01}, problem="quadratic"
    )


def optimistic():
    program = "optimistic_gradient_descent"
    yield case("optimistic-default", program, {"learning_rate": 0.1})
    yield case("optimistic-other", program, {"learning_rate": 0.1, "alpha": 0.5, "beta": 0.8})
    yield case("optimistic-quadratic", program, {"learning_rate": 0.1}, problem="quadratic")
    adam = {"learning_rate": 0.01, "alpha": 0.5, "b1": 0.8, "b2": 0.95}
    yield case("optimistic-nadam", "optimistic_adam_v2", adam)
    yield case("optimistic-adam", "optimistic_adam_v2", adam | {"nesterov": False})


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import jax
    import numpy as np
    import optax
    import optax.contrib

    package, _, name = frozen_case.optimizer.rpartition(".")
    program = getattr(optax.contrib if package else optax, name)
    with jax.enable_x64(dtype == "float64"):
        given = list(leaves(frozen_case, dtype))
        params = {leaf: jax.numpy.asarray(p0) for leaf, p0, _ in given}
        tx = program(**frozen_case.settings)
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

    frozen = [
        (each, "float64", *run(each, "float64"))
        for family in (adamaxw, simplified_ademamix, optimistic)
        for each in family()
    ]
    made_with = (
        f"optax {optax.__version__}, jax {jax.__version__}, Python {platform.python_version()}"
    )
    write("optax", made_with, frozen)


if __name__ == "__main__":
    main()
