"""What is waited for every day, beside optax; and the three mistakes that double a step.

    python benchmarks/everyday.py --pairs 7

Imports, the first optimizer, its first step for two small arrays and `funcopt --help` are processes
of their own, in the seconds of the processor, which other programs change less than those of the
clock: of Python's start and all that follows until the lines are done, or the command. `import
funcopt` loads what it names only when it is used, so what a program waits for is the first
optimizer, and most of all the first step, which is compiled. The step of a small network
(64-128-128-10, 26,122 numbers) and the eager `update` of 1,000 leaves are paired in this process. A
mistake is a factor: the time of steps made wrongly over that of the same steps made well. See
README.md beside this file. Writes results/everyday.json.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax
import tyro
from measure import Optimizer, circumstances, paired, paired_steps, summary, within
from rich.console import Console
from rich.table import Table
from step_time import Side, compare_eager
from workloads import WORKLOADS, arrays

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "everyday.json"
CHAIN = (
    "{0}.chain({0}.clip_by_global_norm(1.0), "
    "{0}.adamw({0}.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000)))"
)
STEP = """
import jax, jax.numpy as jnp
params = {{"w": jnp.ones((8, 4)), "b": jnp.ones(4)}}
def step(params, state):
    updates, state = tx.update(params, state, params)
    return {0}.apply_updates(params, updates), state
jax.block_until_ready(jax.jit(step)(params, tx.init(params)))
"""
PROGRAMS = {
    "import": "import {0}",
    "import_as_optax": "import {0}",
    "first_optimizer": "import {0}; {0}.adamw(1e-3)",
    "first_chain": f"import {{0}}; {CHAIN}",
    "first_step": f"import {{0}}; tx = {CHAIN}{STEP}",
}
LIBRARY = {"import_as_optax": "funcopt.optax"}
TARGETS = {**dict.fromkeys(PROGRAMS, 1.1), "help_s": 0.3, "small_step": 1.0, "eager": 0.2}
STEPS = 200
ENV = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def of_processor(*command: str) -> float:
    """The seconds that a process and its children take of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENV)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starting(program: str, library: str) -> float:
    """The seconds of the processor until a program has what it asks for."""
    lines = f"{PROGRAMS[program].format(library)}\nimport time; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", lines], check=True, capture_output=True, env=ENV)
    return float(done.stdout)


def eager(pairs: int) -> dict[str, Any]:
    """One `update` of 1,000 leaves outside of `jit`, after two of them."""
    sides = Side("funcopt", funcopt), Side("optax", optax)
    return compare_eager(sides, "adamw", WORKLOADS["1000_x_3500"], pairs)


def small_step(pairs: int) -> dict[str, Any]:
    sides = Optimizer(funcopt.adamw(1e-3), funcopt), Optimizer(optax.adamw(1e-3), optax)
    measured, _ = paired_steps(sides, WORKLOADS["mlp"], pairs=pairs, sample_seconds=0.2)
    return summary(measured)


def timed(run: Callable[[int], Any], steps: int) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(steps))
    return (time.perf_counter() - start) / steps


def another_order(pairs: int) -> dict[str, Any]:
    """State and parameters returned in another order than they are donated in."""
    shapes = WORKLOADS["32_x_1024x1024"]
    grads = arrays(shapes, seed=1, scale=1e-3)
    tx = funcopt.adamw(1e-3)

    def well(params: Any, state: Any) -> Any:
        return funcopt.step(tx, grads, state, params)

    def swapped(params: Any, state: Any) -> Any:
        return funcopt.step(tx, grads, state, params)[::-1]

    def timer(step: Any, back: Callable[[Any], Any]) -> Callable[[], float]:
        compiled = jax.jit(step, donate_argnums=(0, 1))
        params = arrays(shapes, seed=0, scale=0.02)
        carry = params, tx.init(params)

        def run(steps: int) -> Any:
            nonlocal carry
            for _ in range(steps):
                carry = back(compiled(*carry))
            return carry

        timed(run, 2)
        return partial(timed, run, 5)

    return summary(paired(timer(swapped, lambda x: x[::-1]), timer(well, lambda x: x), pairs))


def small(tx: Any) -> tuple[Any, Any, Any]:
    params = arrays(WORKLOADS["mlp"], seed=0, scale=0.02)
    return params, tx.init(params), arrays(WORKLOADS["mlp"], seed=1, scale=1e-3)


def closed_over(pairs: int) -> dict[str, Any]:
    """A rate that changes in each step, in the closure of the step and as an argument of it."""

    def recompiled(steps: int) -> Any:
        params, state, grads = small(funcopt.adamw(1e-3))
        for t in range(steps):
            tx = funcopt.adamw(1e-3 / (t + 1))
            params, state = jax.jit(partial(step, tx))(params, state, grads)
        return params

    def passed(steps: int) -> Any:
        params, state, grads = small(funcopt.adamw(1e-3))
        for t in range(steps):
            params, state = once(funcopt.adamw(1e-3 / (t + 1)), params, state, grads)
        return params

    def step(tx: Any, params: Any, state: Any, grads: Any) -> Any:
        return funcopt.step(tx, grads, state, params)

    once = jax.jit(step)
    timed(passed, 2)
    return summary(paired(partial(timed, recompiled, 3), partial(timed, passed, STEPS), pairs))


def python_loop(pairs: int) -> dict[str, Any]:
    """A loop of steps in Python, and the same in one program, `jax.lax.scan`."""
    tx = funcopt.adamw(1e-3)
    grads = arrays(WORKLOADS["mlp"], seed=1, scale=1e-3)

    def step(carry: Any, _: Any = None) -> tuple[Any, None]:
        return funcopt.step(tx, grads, carry[1], carry[0]), None

    one = jax.jit(lambda carry: step(carry)[0], donate_argnums=0)
    scan = jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[0], donate_argnums=0)

    def looped(steps: int) -> Any:
        carry = small(tx)[:2]
        for _ in range(steps):
            carry = one(carry)
        return carry

    def scanned(steps: int) -> Any:
        assert steps == STEPS
        return scan(small(tx)[:2])

    for run in (looped, scanned):
        timed(run, STEPS)
    return summary(paired(partial(timed, looped, STEPS), partial(timed, scanned, STEPS), pairs))


def main(pairs: int = 7, out: Path = OUT) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        pairs: interleaved pairs of each.
        out: where the JSON goes.
    """
    for name in ("funcopt", "funcopt.optax", "optax"):
        starting("first_step", name)  # writes what Python compiles
    command = str(Path(sys.executable).parent / "funcopt")
    report: dict[str, Any] = circumstances("funcopt", "optax") | {"targets": TARGETS}
    for program in PROGRAMS:
        ours = LIBRARY.get(program, "funcopt")
        sides = partial(starting, program, ours), partial(starting, program, "optax")
        report[program] = summary(paired(*sides, pairs))
    report["help_s"] = statistics.median(of_processor(command, "--help") for _ in range(pairs))
    report["small_step"] = small_step(pairs)
    report["eager"] = eager(pairs)
    report["mistakes"] = {
        "another_order": another_order(pairs),
        "closed_over": closed_over(max(pairs // 2, 3)),
        "python_loop": python_loop(pairs),
    }
    out.write_text(json.dumps(report, indent=1) + "\n")
    view = Table(title="what is waited for every day")
    for name in ("what", "funcopt", "the other", "ratio"):
        view.add_column(name)
    for name in (*PROGRAMS, "small_step", "eager"):
        row = report[name]
        view.add_row(
            name,
            f"{row['subject_s']:.3g} s",
            f"{row['baseline_s']:.3g} s",
            within(row["ratio"], TARGETS[name]),
        )
    view.add_row("--help", f"{report['help_s']:.3g} s", "", within(report["help_s"], 0.3))
    for name, row in report["mistakes"].items():
        times = f"{row['subject_s']:.3g} s", f"{row['baseline_s']:.3g} s"
        view.add_row(name, *times, f"{row['ratio']:.1f}")
    Console(width=None if sys.stdout.isatty() else 120).print(view)


if __name__ == "__main__":
    tyro.cli(main)
