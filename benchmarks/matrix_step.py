"""What Muon's step costs on matrices of one shape, against optax's.

Twelve matrices of 768x768, float32 on the CPU. Both sides take five of Jordan's steps in float32
without Nesterov's look-ahead, where they compute the same; what is reported beside the times is how
far apart their steps are.

    python benchmarks/matrix_step.py --pairs 9

See README.md beside this file for how it is measured. Writes results/matrix_step.json.
"""

import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro
from measure import Optimizer, circumstances, paired, paired_steps, summary, within
from program import jitted_step
from rich.console import Console
from rich.table import Table
from workloads import abstract, arrays

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "matrix_step.json"
SHAPES = {f"w{i:02d}": (768, 768) for i in range(12)}
STEP, COMPILED = 0.8, 0.5


def sides() -> tuple[Optimizer, Optimizer]:
    ours = funcopt.muon(0.02, nesterov=False, ns_dtype="float32")
    return Optimizer(ours, funcopt), Optimizer(optax.contrib.muon(0.02, nesterov=False), optax)


def compiling(side: Optimizer) -> float:
    """Seconds to trace, lower and compile a fresh step."""
    params = abstract(SHAPES)
    state = jax.eval_shape(side.tx.init, params)
    jax.clear_caches()
    start = time.perf_counter()
    jitted_step(side.library, side.tx).trace(params, state, params).lower().compile()
    return time.perf_counter() - start


def apart(both: tuple[Optimizer, Optimizer]) -> float:
    """The largest difference of an element of the first updates, relative to the largest of one."""
    params, grads = arrays(SHAPES, seed=0, scale=0.02), arrays(SHAPES, seed=1, scale=1e-3)
    ours, theirs = (jax.jit(x.tx.update)(grads, x.tx.init(params), params)[0] for x in both)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(theirs))
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ours, theirs)
    return max(jax.tree.leaves(differences)) / largest


def main(pairs: int = 9, sample_seconds: float = 2.0, out: Path = OUT) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    both = sides()
    result: dict[str, Any] = {"circumstances": circumstances("optax"), "apart": apart(both)}
    steps, count = paired_steps(both, SHAPES, pairs=pairs, sample_seconds=sample_seconds)
    result["step"] = {**summary(steps), "steps_in_a_sample": count, "target": STEP}
    compiled = paired(lambda: compiling(both[0]), lambda: compiling(both[1]), pairs)
    result["trace_lower_compile"] = {**summary(compiled), "target": COMPILED}
    out.write_text(json.dumps(result, indent=2) + "\n")

    table = Table("12 matrices of 768x768", "muon", "optax.contrib.muon", "ratio")
    for name in ("step", "trace_lower_compile"):
        row = result[name]
        times = (f"{row[side]:.3f} s" for side in ("subject_s", "baseline_s"))
        table.add_row(name.replace("_", ", "), *times, within(row["ratio"], row["target"]))
    Console().print(table)
    print(f"updates are {result['apart']:.1e} apart")


if __name__ == "__main__":
    tyro.cli(main)
