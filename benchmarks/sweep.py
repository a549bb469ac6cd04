"""32 learning rates of Adam: one program of funcopt, 32 programs of optax, one of an expert.

    python benchmarks/sweep.py [--pairs 5] [--steps 100]

Every side trains the network of the task `digits` from the same parameters on the same batches,
with the same `lax.scan`; only how the 32 rates get in differs:

- `value`:    `jax.vmap(train, in_axes=(tx.in_axes,))(tx)` with `tx = funcopt.adam(rates)`, inside
              `jax.jit`, so that what is not swept is constant, as it is for the expert
- `separate`: for each rate `jax.jit(lambda: train(optax.adam(rate)))()`, built afresh
- `expert`:   `jax.jit(jax.vmap(lambda rate: train(optax.adam(rate))))(rates)`

Times are wall-clock from a cold start of all caches, tracing and compiling included, in
interleaved pairs of alternating order; what is reported is the median of the per-pair ratios.
Writes results/sweep.json.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measure import circumstances, paired, summary

import funcopt
from funcopt.lab import get_task

OUT = Path(__file__).resolve().parent / "results" / "sweep.json"
RATES = np.geomspace(1e-4, 1.0, 32)
TASK = get_task("digits")
Side = Callable[[Any, Any], Any]
TARGETS = {"separate_over_value": 15.0, "value_over_expert": 1.0}


def training(library: Any, params: Any, batches: Any) -> Callable[[Any], jax.Array]:
    """`train(tx) -> loss of the last batch`, with the `apply_updates` of `library`."""

    def train(tx):
        def one(carry, batch):
            params, state = carry
            loss, grads = jax.value_and_grad(TASK.loss)(params, batch)
            updates, state = tx.update(grads, state, params)
            return (library.apply_updates(params, updates), state), loss

        return jax.lax.scan(one, (params, tx.init(params)), batches)[1][-1]

    return train


def value(params: Any, batches: Any) -> jax.Array:
    train = training(funcopt, params, batches)

    def sweep(rates):
        tx = funcopt.adam(rates)
        return jax.vmap(train, in_axes=(tx.in_axes,))(tx)

    return jax.jit(sweep)(jnp.asarray(RATES, jnp.float32))


def expert(params: Any, batches: Any) -> jax.Array:
    train = training(optax, params, batches)
    rates = jnp.asarray(RATES, jnp.float32)
    return jax.jit(jax.vmap(lambda rate: train(optax.adam(rate))))(rates)


def separate(params: Any, batches: Any) -> list[jax.Array]:
    train = training(optax, params, batches)
    return [
        jax.jit(lambda rate=float(rate): train(optax.adam(rate)))().block_until_ready()
        for rate in RATES
    ]


def seconds(side: Side, *arguments: Any) -> tuple[float, np.ndarray]:
    """Wall-clock time from cold caches, and the final losses."""
    jax.clear_caches()
    gc.collect()
    began = time.perf_counter()
    answer = jax.block_until_ready(side(*arguments))
    return time.perf_counter() - began, np.asarray(answer)


def compared(first: Side, second: Side, pairs: int, *arguments: Any) -> dict[str, Any]:
    """Times of both sides in pairs; their losses are checked against each other."""
    losses: dict[Side, np.ndarray] = {}

    def timed(side: Side) -> Callable[[], float]:
        def run() -> float:
            taken, losses[side] = seconds(side, *arguments)
            print(f"{side.__name__} {taken:.3f} s", flush=True)
            return taken

        return run

    measured = paired(timed(first), timed(second), pairs)
    # At the smallest rates the two libraries agree; at larger ones rounding errors grow.
    np.testing.assert_allclose(losses[first][:4], losses[second][:4], rtol=1e-4)
    return summary(measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="against the 32 programs")
    parser.add_argument("--expert-pairs", type=int, default=21, help="against the one program")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    report = circumstances("funcopt", "optax")
    key = jax.random.key(0)
    batches = jax.vmap(lambda step: TASK.sample(key, step))(jnp.arange(options.steps))
    shared = jax.block_until_ready((TASK.init(key), batches))
    jax.jit(lambda x: x + 1)(1.0)  # the first compilation of a process starts XLA
    report |= {
        "workload": {
            "task": TASK.summary,
            **TASK.settings,
            "steps": options.steps,
            "learning_rates": len(RATES),
        },
        "targets": TARGETS,
        "separate_over_value": compared(separate, value, options.pairs, *shared),
        "value_over_expert": compared(value, expert, options.expert_pairs, *shared),
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, target in TARGETS.items():
        found = report[name]
        ends = f"{found['ratio_min']:.2f} to {found['ratio_max']:.2f}"
        print(f"{name}: {found['ratio']:.2f} ({ends}), target {target:.2f}")


if __name__ == "__main__":
    main()
