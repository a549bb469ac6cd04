"""What tests/test_one_pass.py runs in a process of its own: steps in one pass, and as they are."""

import json
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt
from funcopt.core import one_pass


@funcopt.transformation
def unaware():
    """What says that it takes factors, and whose inside does not."""
    inner: Any = funcopt.chain(funcopt.sgd(0.1))

    class Unaware(NamedTuple):
        init: Any = inner.init
        update: Any = inner.update
        takes: Any = ("factors",)

    return Unaware()


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
    "chunked": funcopt.chain(
        funcopt.clip_by_global_norm(0.1), funcopt.chunked(funcopt.adam(0.1), 1000)
    ),
    "chunked chain": funcopt.chain(
        funcopt.clip_by_global_norm(0.1), funcopt.chunked(funcopt.chain(funcopt.sgd(0.1)))
    ),
    "offloaded chain": funcopt.chain(
        funcopt.clip_by_global_norm(0.1), funcopt.offload(funcopt.chain(funcopt.sgd(0.1)))
    ),
    "offloaded optax": funcopt.chain(
        funcopt.clip_by_global_norm(0.1), funcopt.offload(optax.sgd(0.1))
    ),
    "what loses it": funcopt.chain(funcopt.clip_by_global_norm(0.1), unaware()),
    "clips in optax's": funcopt.chain(
        optax.chain(funcopt.clip_by_global_norm(0.1), optax.scale(0.5)),
        optax.masked(funcopt.clip_by_global_norm(0.02), {"w": True, "small": False, "half": True}),
        optax.apply_if_finite(funcopt.clip_by_global_norm(0.01), 3),
        funcopt.sgd(0.1),
    ),
}


def grads_at(t: int, name: str) -> dict[str, jax.Array]:
    made = np.random.default_rng(t)
    grads = {leaf: made.standard_normal(shape) for leaf, shape in SHAPES.items()}
    if name == "guarded" and t == 2:
        grads["w"][0, 0] = np.nan  # a guard skips this step
    return {leaf: jnp.asarray(g, dtype(leaf, name)) for leaf, g in grads.items()}


def dtype(leaf: str, name: str):
    """A factor is left to the next member only where all is float32."""
    return jnp.bfloat16 if leaf == "half" and name in ("adamw", "bfloat16") else jnp.float32


def walk(tx, name: str):
    params = {leaf: jnp.ones(shape, dtype(leaf, name)) for leaf, shape in SHAPES.items()}
    carry = params, tx.init(params)
    step = jax.jit(lambda carry, g: funcopt.step(tx, g, carry[1], carry[0]), donate_argnums=0)
    for t in range(4):
        carry = step(carry, grads_at(t, name))
    return jax.tree.leaves(carry)


def apart(found: jax.Array, plain: jax.Array) -> float:
    """The largest difference of two arrays: of what is never negative relative to each element,
    else to it and the largest, since a sum whose terms cancel has the roundings of its terms.
    """
    a, b = np.float64(found), np.float64(plain)
    scale = np.abs(b) + (0 if np.all(b >= 0) else np.max(np.abs(b)))
    return float(np.max(np.abs(a - b) / (scale + 1e-38)))


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
        found = walk(tx, name)
        one_pass._enabled = False
        jax.clear_caches()
        plain = walk(tx, name)
        one_pass._enabled = True
        told["apart"][name] = [apart(a, b) for a, b in zip(found, plain, strict=True)]
    for name in ("adamw", "clipped", "guarded"):
        told["bytes"][name] = bytes_of(MADE[name])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
