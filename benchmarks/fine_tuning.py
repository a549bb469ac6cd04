"""Fine-tuning at a small rate with weights in half precision: what is lost, and what keeps it.

    python benchmarks/fine_tuning.py

The lab's digits network is trained in float32, for 300 steps of Adam at 1e-3; from there, in
bfloat16, for 1000 steps at 1e-5, which is less than half of the distance of neighbours for nearly
all weights. Every seed is trained in float32 as well, on the same batches; losses are those of the
float32 network whose weights the parameters are, on data that training does not see. Writes
results/fine_tuning.json.
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import circumstances

import funcopt
from funcopt.lab import get_task

OUT = Path(__file__).resolve().parent / "results" / "fine_tuning.json"
TASK: Any = get_task("digits")
WAYS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "float32": ("float32", lambda tx: tx),
    "bfloat16": ("bfloat16", lambda tx: tx),
    "stochastic_rounding": ("bfloat16", funcopt.stochastic_rounding),
    "kahan": ("bfloat16", funcopt.kahan),
    "master_weights_int8": ("bfloat16", partial(funcopt.master_weights, kind="int8")),
    "master_weights_int16": ("bfloat16", funcopt.master_weights),
}


def wide(params: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)


def trained(tx: Any, params: Any, key: Any, steps: int) -> Any:
    def body(t: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        params, state = carry
        batch = TASK.sample(key, t)
        grads = jax.grad(lambda params: TASK.loss(wide(params), batch))(params)
        return funcopt.step(tx, grads, state, params)

    return jax.lax.fori_loop(0, steps, body, (params, tx.init(params)))[0]


@partial(jax.jit, static_argnames="steps")
def begun(keys: Any, steps: int) -> Any:
    """Trained networks whose weights are bfloat16 numbers, in float32."""

    def one(key: Any) -> Any:
        params = trained(funcopt.adam(1e-3), TASK.init(key), jax.random.fold_in(key, 1), steps)
        return jax.tree.map(lambda x: jax.lax.reduce_precision(x, 8, 7), params)

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames=("name", "steps"))
def tuned(name: str, starts: Any, keys: Any, steps: int) -> tuple[Any, Any]:
    """Losses after fine-tuning, and the share of weights that are not where they were."""
    dtype, way = WAYS[name]

    def one(start: Any, key: Any) -> tuple[Any, Any]:
        params = jax.tree.map(lambda x: x.astype(dtype), start)
        end = trained(way(funcopt.adam(1e-5)), params, jax.random.fold_in(key, 2), steps)
        pairs = zip(jax.tree.leaves(wide(end)), jax.tree.leaves(start), strict=True)
        moved = jnp.concatenate([jnp.ravel(a != b) for a, b in pairs])
        return TASK.evaluate(wide(end))["loss"], jnp.mean(moved)

    return jax.vmap(one)(starts, keys)


def main(seeds: int = 8, before: int = 300, steps: int = 1000, out: Path = OUT) -> int:
    """Train every seed with every way to keep weights.

    Args:
        seeds: how many networks there are.
        before: steps in float32.
        steps: of fine-tuning.
        out: where the result goes.
    """
    report: dict[str, Any] = {**circumstances("funcopt"), "seeds": seeds, "rows": []}
    keys = jax.random.split(jax.random.key(0), seeds)
    starts = begun(keys, before)
    first = np.asarray(jax.vmap(lambda x: TASK.evaluate(x)["loss"])(starts), np.float64)
    gains: dict[str, np.ndarray] = {}
    for name in WAYS:
        loss, moved = (np.asarray(x, np.float64) for x in tuned(name, starts, keys, steps))
        gains[name] = first - loss
        share = gains[name] / gains["float32"]
        row = {
            "way": name,
            "first": float(first.mean()),
            "loss": float(loss.mean()),
            "moved": float(moved.mean()),
            "gain": float(np.median(share)),
            "gain_min": float(share.min()),
            "gain_max": float(share.max()),
        }
        report["rows"].append(row)
        print(row, flush=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
