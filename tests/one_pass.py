"""What tests/test_one_pass.py runs in a process of its own: steps in one pass, and as they are."""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcopt
from funcopt.core import one_pass

SHAPES = {"w": (128, 160), "small": (3,), "half": (256, 64)}
RATE = funcopt.cosine_decay_schedule(1e-2, 10)
MADE = {
    "adamw": funcopt.adamw(RATE, mask="w"),
    "adan": funcopt.adan(1e-2, weight_decay=0.1),
    "bfloat16": funcopt.adamw(1e-2, storage={"mu": "bfloat16"}),
    "chained": funcopt.chain(funcopt.clip_by_global_norm(0.1), funcopt.lion(1e-3)),
    "clipped": funcopt.chain(funcopt.clip_by_global_norm(0.1), funcopt.adamw(1e-2)),
    "clipped by value": funcopt.chain(funcopt.clip(0.01), funcopt.sgd(0.1, momentum=0.9)),
    "groups": funcopt.partition({"w": funcopt.rmsprop(1e-2), "": funcopt.nadam(1e-2)}),
    "guarded": funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(0.1), funcopt.adamw(1e-2))),
    "array": funcopt.lamb(1e-2),
}


def grads_at(t: int) -> dict[str, jax.Array]:
    made = np.random.default_rng(t)
    grads = {name: made.standard_normal(shape) for name, shape in SHAPES.items()}
    if t == 2:
        grads["w"][0, 0] = np.nan  # a guard skips this step, the others are compared as they are
    return {name: jnp.asarray(g, dtype(name)) for name, g in grads.items()}


def dtype(name: str):
    return jnp.bfloat16 if name == "half" else jnp.float32


def walk(tx):
    params = {name: jnp.ones(shape, dtype(name)) for name, shape in SHAPES.items()}
    carry = params, tx.init(params)
    step = jax.jit(lambda carry, g: funcopt.step(tx, g, carry[1], carry[0]), donate_argnums=0)
    for t in range(4):
        carry = step(carry, grads_at(t))
    return jax.tree.leaves(carry)


def bytes_of(tx) -> float:
    params = {"w": jax.ShapeDtypeStruct((512, 512), jnp.float32)}
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(lambda p, s, g: funcopt.step(tx, g, s, p), donate_argnums=(0, 1))
    costs: Any = step.lower(params, state, params).compile().cost_analysis()
    return costs["bytes accessed"] / 512**2


def main() -> None:
    funcopt.enable_cpu_multi_output_fusion()
    told: dict = {"apart": {}, "bytes": {}}
    for name, tx in MADE.items():
        found = walk(tx)
        one_pass._enabled = False
        jax.clear_caches()
        plain = walk(tx)
        one_pass._enabled = True
        told["apart"][name] = max(
            float(np.max(np.abs(np.float64(a) - np.float64(b)) / (np.abs(np.float64(b)) + 1e-3)))
            if np.isfinite(b).all()
            else float(not np.array_equal(np.isnan(a), np.isnan(b)))
            for a, b in zip(found, plain, strict=True)
        )
    for name in ("adamw", "clipped", "guarded"):
        told["bytes"][name] = bytes_of(MADE[name])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
