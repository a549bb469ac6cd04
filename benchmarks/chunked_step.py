"""What steps in chunks cost and save: AdamW with slots in fewer bits, chunked against whole.

Two leaves of 4096 x 2048 numbers. Gradients, state and parameters are donated, as where a program
computes gradients and makes the step; fresh gradients are made off the clock.

    python benchmarks/chunked_step.py --pairs 9

See README.md beside this file for how pairs are measured. Writes results/chunked_step.json.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from measure import circumstances, paired, summary
from workloads import arrays

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "chunked_step.json"
SHAPES = {"a": (4096, 2048), "b": (4096, 2048)}
STORAGES = ("8bit", "4bit")
CHUNKS = (2**16, 2**18, 2**20)


def compiled(tx: Any) -> tuple[Callable[[], float], float]:
    """A clock of one step, and the temporaries of the program in MiB."""
    params = arrays(SHAPES, seed=0, scale=0.02)
    grads = arrays(SHAPES, seed=1, scale=1e-3)
    carry = [tx.init(params), params]
    step = jax.jit(partial(funcopt.step, tx), donate_argnums=(0, 1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gradients whose memory becomes nothing else's
        program = step.lower(grads, *carry).compile()

    def seconds() -> float:
        given = jax.block_until_ready(jax.tree.map(jnp.copy, grads))
        start = time.perf_counter()
        params, state = jax.block_until_ready(program(given, *carry))
        carry[:] = [state, params]
        return time.perf_counter() - start

    seconds()
    analysis = program.memory_analysis()
    assert analysis is not None
    return seconds, analysis.temp_size_in_bytes / 2**20


def main(pairs: int = 9, out: Path = OUT) -> int:
    """Measure every storage with every chunk.

    Args:
        pairs: of measurements, interleaved.
        out: where the result goes.
    """
    report = {**circumstances("funcopt"), "rows": []}
    for storage in STORAGES:
        tx = funcopt.adamw(1e-3, storage=storage)
        whole, whole_mib = compiled(tx)
        for chunk in CHUNKS:
            chunked, mib = compiled(funcopt.chunked(tx, chunk))
            row = {"storage": storage, "chunk": chunk, "mib": mib, "whole_mib": whole_mib}
            report["rows"].append(row | summary(paired(chunked, whole, pairs)))
            print(report["rows"][-1], flush=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
