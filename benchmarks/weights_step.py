"""What weights in half precision cost in a step: AdamW with each way to keep them, against float32.

Two leaves of 4096 x 2048 numbers. Parameters and state are donated; gradients are in the type of
the parameters, and are not.

    python benchmarks/weights_step.py --pairs 9

See README.md beside this file for how pairs are measured. Writes results/weights_step.json.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import tyro
from fine_tuning import WAYS
from measure import circumstances, paired, summary
from workloads import arrays

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "weights_step.json"
SHAPES = {"a": (4096, 2048), "b": (4096, 2048)}
COPY = partial(funcopt.master_weights, kind="float32")
EACH = {**WAYS, "master_weights_float32": ("bfloat16", COPY)}


def compiled(name: str) -> tuple[Callable[[], float], dict[str, float]]:
    """A clock of one step; its temporaries, and what is kept, in bytes for each parameter."""
    dtype, way = EACH[name]
    tx = way(funcopt.adamw(1e-3))
    params, grads = (
        jax.tree.map(lambda x: x.astype(dtype), arrays(SHAPES, seed=seed, scale=scale))
        for seed, scale in ((0, 0.02), (1, 1e-3))
    )
    carry = [params, tx.init(params)]
    numbers = sum(x.size for x in jax.tree.leaves(params))
    kept = sum(x.nbytes for x in jax.tree.leaves(carry))

    def step(params: Any, state: Any, grads: Any) -> Any:
        return funcopt.step(tx, grads, state, params)

    program = jax.jit(step, donate_argnums=(0, 1)).lower(*carry, grads).compile()

    def seconds() -> float:
        start = time.perf_counter()
        carry[:] = jax.block_until_ready(program(*carry, grads))
        return time.perf_counter() - start

    seconds()
    analysis = program.memory_analysis()
    assert analysis is not None
    return seconds, {
        "temporaries": analysis.temp_size_in_bytes / numbers,
        "kept": kept / numbers,
    }


def main(pairs: int = 9, out: Path = OUT) -> int:
    """Measure every way.

    Args:
        pairs: of measurements, interleaved.
        out: where the result goes.
    """
    report: dict[str, Any] = {**circumstances("funcopt"), "rows": []}
    whole, _ = compiled("float32")
    for name in EACH:
        step, memory = compiled(name)
        report["rows"].append({"way": name, **memory, **summary(paired(step, whole, pairs))})
        print(report["rows"][-1], flush=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
