"""What steps of Muon and of SOAP cost on matrices of one shape, against other programs.

Twelve matrices of 768x768, float32 on the CPU. Muon beside optax's: both sides take five of
Jordan's steps in float32 without Nesterov's look-ahead, where they compute the same. SOAP beside
`plain_soap.py`, a loop over matrices as a reader of the paper writes it: ordinary steps, those that
renew bases, which is every tenth, and the mean of ten, by the clock and in the seconds of the CPU,
which other programs at the same time change less. What is reported beside the times is how far
apart the two sides' steps are.

    python benchmarks/matrix_step.py --pairs 9
    python benchmarks/matrix_step.py --only soap

LAPACK has one thread on both sides: OpenBLAS's threads wait for each other where something else
computes, which makes a QR take up to a hundred times as long. See README.md beside this file for
how it is measured. Writes results/matrix_step.json, or the part that was asked for.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import tyro
from measure import Optimizer, circumstances, paired, paired_steps, summary, within
from plain_soap import plain_soap
from program import jitted_step
from rich.console import Console
from rich.table import Table
from workloads import abstract, arrays

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "matrix_step.json"
SHAPES = {f"w{i:02d}": (768, 768) for i in range(12)}
STEP, COMPILED = 0.8, 0.5
CYCLE = 10


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


def apart(both: tuple[Optimizer, Optimizer], steps: int = 1) -> float:
    """The norm of the difference of both ways after some steps, relative to that of a way."""
    start = arrays(SHAPES, seed=0, scale=0.02)

    def way(side: Optimizer) -> dict[str, jax.Array]:
        params, state = arrays(SHAPES, seed=0, scale=0.02), side.tx.init(start)
        step = jitted_step(side.library, side.tx)
        for seed in range(1, 1 + steps):
            params, state = step(params, state, arrays(SHAPES, seed=seed, scale=1e-3))
        return jax.tree.map(jnp.subtract, params, start)

    ours, theirs = map(way, both)
    difference = jax.tree.map(jnp.subtract, ours, theirs)
    return float(optax.global_norm(difference) / optax.global_norm(theirs))


class Cycle(NamedTuple):
    """Seconds of ordinary steps and of one that renews bases, by the clock and of the processor."""

    ordinary: tuple[float, float]
    renewing: tuple[float, float]

    def mean(self, kind: int) -> float:
        return ((CYCLE - 1) * self.ordinary[kind] + self.renewing[kind]) / CYCLE


def cycles(side: Optimizer) -> Iterator[Cycle]:
    """Ten steps after ten steps, of which the last renews bases."""
    grads = [arrays(SHAPES, seed=seed, scale=1e-3) for seed in range(1, 4)]
    params = arrays(SHAPES, seed=0, scale=0.02)
    step = jitted_step(side.library, side.tx)
    carry = params, side.tx.init(params)
    carry = step(*carry, grads[0])  # compiles, and makes the first bases
    count = 1
    while True:
        jax.block_until_ready(carry)
        times = []
        for _ in range(CYCLE):
            begun = time.perf_counter(), time.process_time()
            carry = step(*carry, grads[count % 3])
            jax.block_until_ready(carry)
            times.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
            count += 1
        wall, cpu = (sum(column) / (CYCLE - 1) for column in zip(*times[:-1], strict=True))
        yield Cycle((wall, cpu), times[-1])  # that of the step 11, 21 and so on


def soap_rows(pairs: int) -> dict[str, Any]:
    ours = Optimizer(funcopt.soap(3e-3, weight_decay=0.0, precondition_frequency=CYCLE), funcopt)
    both = ours, Optimizer(plain_soap(3e-3, frequency=CYCLE), optax)
    result: dict[str, Any] = {"apart": apart(both, steps=CYCLE + 2)}
    runs = [cycles(side) for side in both]
    for run in runs:
        next(run)
    measured = []
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        found = {i: next(runs[i]) for i in order}
        measured.append((found[0], found[1]))

    def row(seconds: Callable[[Cycle], float]) -> dict[str, Any]:
        return summary([(seconds(a), seconds(b)) for a, b in measured])

    for kind, name in enumerate(("", "_of_processor")):
        result[f"ordinary_step{name}"] = row(lambda x, k=kind: x.ordinary[k])
        result[f"renewing_step{name}"] = row(lambda x, k=kind: x.renewing[k])
        result[f"step{name}"] = {**row(lambda x, k=kind: x.mean(k)), "target": STEP}
    return result


def muon_rows(pairs: int, sample_seconds: float) -> dict[str, Any]:
    both = sides()
    result: dict[str, Any] = {"apart": apart(both)}
    steps, count = paired_steps(both, SHAPES, pairs=pairs, sample_seconds=sample_seconds)
    result["step"] = {**summary(steps), "steps_in_a_sample": count, "target": STEP}
    compiled = paired(lambda: compiling(both[0]), lambda: compiling(both[1]), pairs)
    result["trace_lower_compile"] = {**summary(compiled), "target": COMPILED}
    return result


def main(
    pairs: int = 9,
    sample_seconds: float = 2.0,
    only: Literal["muon", "soap"] | None = None,
    out: Path = OUT,
) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    result = json.loads(out.read_text()) if only and out.exists() else {}
    for name in ("muon", "soap") if only is None else (only,):
        told = circumstances("optax")
        rows = soap_rows(pairs) if name == "soap" else muon_rows(pairs, sample_seconds)
        result[name] = {"circumstances": told, **rows}
    out.write_text(json.dumps(result, indent=2) + "\n")

    table = Table("12 matrices of 768x768", "funcopt", "the other", "ratio")
    for name, rows in result.items():
        for what, row in rows.items():
            if what in ("circumstances", "apart"):
                continue
            times = (f"{row[side]:.3f} s" for side in ("subject_s", "baseline_s"))
            ratio = row["ratio"]
            said = within(ratio, row["target"]) if "target" in row else f"{ratio:.2f}"
            table.add_row(f"{name}: {what.replace('_', ' ')}", *times, said)
        print(f"{name}: {rows['apart']:.1e} apart")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
