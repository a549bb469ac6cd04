"""Steps in one pass over memory: funcopt with XLA's multi-output fusion on the CPU, and without.

    python benchmarks/one_pass.py --pairs 9 --torch-python path/to/python-with-torch

The option is one of a process, so each side is a process of its own, which runs some steps when it
is asked; sides take turns (A B C D, D C B A, ...), and a ratio is the median over rounds. The bytes
beside the times are those that XLA counts for the compiled step, for a parameter. What no step can
be faster than is measured, too: `additions` reads and writes the same arrays, and only adds. See
README.md beside this file. Writes results/one_pass.json.
"""

import json
import math
import operator
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import tyro
from answering import Answering
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
WORKLOADS = ("one_64m", "gpt2_small")
KINDS = ("adamw", "guarded")
TARGETS = {
    ("adamw", "plain", "optax"): 1.00,
    ("adamw", "one pass", "optax"): 0.70,
    ("adamw", "one pass", "torch"): 0.95,
    ("guarded", "one pass", "plain"): 0.80,
}


def serve(side: str) -> None:
    """The side of JAX: reads requests and answers them, one line each."""
    import funcopt

    if side in ("one pass", "additions"):
        funcopt.enable_cpu_multi_output_fusion()
    import jax
    import optax
    from program import jitted_step
    from workloads import WORKLOADS, arrays

    library: Any = optax if side == "optax" else funcopt
    made = {
        "adamw": lambda: library.adamw(1e-3),
        "guarded": lambda: funcopt.guard(
            funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-3))
        ),
    }
    step: Any = None
    carry: Any = None
    grads: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "load":
            step = carry = grads = None
            shapes, tx = WORKLOADS[request["workload"]], made[request["kind"]]()
            params = arrays(shapes, seed=0, scale=0.02)
            grads, carry = arrays(shapes, seed=1, scale=1e-3), (params, tx.init(params))
            plain = jitted_step(library, tx)
            if side == "additions":
                plain = jax.jit(additions, donate_argnums=(0, 1))
                carry = params, tuple(arrays(shapes, seed=seed, scale=1.0) for seed in (2, 3))
            step = plain.lower(*carry, grads).compile()
            count = sum(x.size for x in jax.tree.leaves(params))
            answer["bytes"] = step.cost_analysis()["bytes accessed"] / count
            answer["temp_bytes"] = step.memory_analysis().temp_size_in_bytes
        else:
            start = time.perf_counter()
            for _ in range(request["steps"]):
                carry = step(*carry, grads)
            jax.block_until_ready(carry)
            answer["seconds"] = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


def additions(params: Any, slots: tuple[Any, Any], grads: Any) -> tuple[Any, tuple[Any, Any]]:
    """What AdamW reads and writes, without its arithmetic."""
    import jax

    new, first, second = (jax.tree.map(operator.add, x, grads) for x in (params, *slots))
    return new, (first, second)


def measured(sides: dict[str, Answering], kind: str, workload: str, pairs: int) -> dict[str, Any]:
    """Seconds of a step of each side in turns, and ratios."""
    from workloads import WORKLOADS

    told = {}
    for name, side in sides.items():
        if name == "torch":
            shapes = list(WORKLOADS[workload].values())
            side.ask(do="load", shapes=shapes, algorithm="adamw", variant="fused")
        else:
            told[name] = side.ask(do="load", kind=kind, workload=workload)
        side.ask(do="run", steps=2)
    once = sides["plain"].ask(do="run", steps=2)["seconds"] / 2
    steps = max(1, math.ceil(0.5 / once))
    rounds = []
    for i in range(pairs):
        order = list(sides) if i % 2 == 0 else list(sides)[::-1]
        seconds = {n: sides[n].ask(do="run", steps=steps)["seconds"] / steps for n in order}
        rounds.append(seconds)
    result: dict[str, Any] = {"kind": kind, "workload": workload, "pairs": pairs, "steps": steps}
    result["program"] = told
    result["seconds"] = {n: statistics.median(r[n] for r in rounds) for n in sides}
    result["ratios"] = {}
    for subject, baseline in (
        ("plain", "optax"),
        ("one pass", "optax"),
        ("one pass", "torch"),
        ("one pass", "plain"),
        ("one pass", "additions"),
        ("torch", "additions"),
    ):
        if subject in sides and baseline in sides:
            ratios = [r[subject] / r[baseline] for r in rounds]
            result["ratios"][f"{subject} / {baseline}"] = {
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "target": TARGETS.get((kind, subject, baseline)),
            }
    return result


def table(rows: list[dict[str, Any]]) -> Table:
    from measure import within

    view = Table(title="seconds of a step, and ratios")
    shown = (
        "plain / optax",
        "one pass / optax",
        "one pass / torch",
        "one pass / plain",
        "one pass / additions",
        "torch / additions",
    )
    for name in ("workload", "step", "one pass", "bytes", *shown):
        view.add_column(name, no_wrap=True)
    for row in rows:
        program, ratios = row["program"], row["ratios"]

        def ratio(name: str, ratios: Any = ratios) -> str:
            found = ratios.get(name)
            if found is None:
                return ""
            target = found["target"]
            return f"{found['ratio']:.2f}" if target is None else within(found["ratio"], target)

        view.add_row(
            row["workload"],
            row["kind"],
            f"{1e3 * row['seconds']['one pass']:.1f} ms",
            f"{program['plain']['bytes']:.0f} -> {program['one pass']['bytes']:.0f}",
            *map(ratio, shown),
        )
    return view


def main(
    workloads: tuple[str, ...] = WORKLOADS,
    kinds: tuple[str, ...] = KINDS,
    pairs: int = 9,
    torch_python: Path | None = None,
    out: Path = HERE / "results" / "one_pass.json",
) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        workloads: which parameter trees, by name.
        kinds: which optimizers.
        pairs: how often each side takes its turn.
        torch_python: an interpreter that can import torch; without it PyTorch is left out.
        out: where the JSON goes.
    """
    from measure import circumstances

    report: dict[str, Any] = circumstances("funcopt", "optax") | {"rows": []}
    for kind in kinds:
        names = ["one pass", "plain", *(["optax", "additions"] if kind == "adamw" else [])]
        sides = {name: Answering(sys.executable, __file__, "serve", name) for name in names}
        if torch_python is not None and kind == "adamw":
            sides["torch"] = Answering(torch_python, HERE / "torch_steps.py")
            report["versions"]["torch"] = sides["torch"].ask(do="version")["torch"]
        for workload in workloads:
            report["rows"].append(measured(sides, kind, workload, pairs))
            out.write_text(json.dumps(report, indent=1) + "\n")
        for side in sides.values():
            side.close()
    Console(width=None if sys.stdout.isatty() else 160).print(table(report["rows"]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        tyro.cli(main)
