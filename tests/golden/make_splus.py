"""Freeze trajectories of SPlus by its authors: Python 3.11, optax 0.2.8, on the CPU.

The program is not part of this repository: give the path of a copy of github.com/kvfrans/splus at
commit d96bd16bc6c937256e2a28e5bf2cbd8c4984da68 (no licence is given), of which `optax/splus.py` is
run. From the repository root, this writes splus.npz and splus.json:

    python -m tests.golden.make_splus <copy of splus>

Frozen are the parameters of the training. The averages of the program do not take in the last
point, which those of funcopt do, and take in the first, which those do not.
"""

from __future__ import annotations

import importlib
import platform
import sys

from tests.golden.freeze import STEPS, Case, leaves, write


def cases():
    for name, rate, more in (
        ("splus", 0.1, {}),
        ("splus-often", 0.5, {"b1": 0.7, "b2": 0.9, "inverse_every": 4, "weight_decay": 0.2,
                              "nonstandard_constant": 0.05}),
        ("splus-one-side", 0.5, {"b2": 0.9, "inverse_every": 5, "max_dim": 4,
                                 "weight_decay": 0.0}),
    ):  # fmt: skip
        call = {"learning_rate": rate, **more}
        if "nonstandard_constant" in call:
            call["otherwise_rate"] = call.pop("nonstandard_constant")
        if "max_dim" in call:
            call["max_dim"] -= 1  # there it is the first that is too long
        yield Case(name, "splus", {"learning_rate": rate, **more},
                   {"factory": "splus", "kwargs": call})  # fmt: skip


def run(program, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    given = list(leaves(frozen_case, dtype))
    tx = program(**frozen_case.settings, verbose=False)
    with jax.enable_x64(dtype == "float64"):
        assert jnp.zeros(()).dtype == dtype  # it makes its matrices in the default type
        params = {leaf: jnp.asarray(p0) for leaf, p0, _ in given}
        state, path = tx.init(params), {leaf: [] for leaf, _, _ in given}
        for index in range(STEPS):
            grads = {leaf: jnp.asarray(g(index, np.asarray(params[leaf]))) for leaf, _, g in given}
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            for leaf, p in params.items():
                path[leaf].append(np.asarray(p, dtype))
    rates = [frozen_case.settings["learning_rate"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    import jax
    import optax

    (copy,) = sys.argv[1:]
    sys.path.insert(0, f"{copy}/optax")
    jax.tree_map = jax.tree.map  # which JAX no longer has
    program = importlib.import_module("splus").splus
    frozen = [
        (frozen_case, dtype, *run(program, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        f"kvfrans/splus d96bd16bc6c937256e2a28e5bf2cbd8c4984da68, Python "
        f"{platform.python_version()}, jax {jax.__version__}, optax {optax.__version__}"
    )
    write("splus", made_with, frozen)


if __name__ == "__main__":
    main()
