"""What the step of each optimizer costs that optax has too, against optax's.

Twelve matrices of 512x512, float32 on the CPU. The optimizers are those rows of the tests'
catalogue that name optax's counterpart, of each algorithm the first. Beside the times stand the
compiled programs: fusions, temporaries, and what they move in memory in passes over all parameters.

    python benchmarks/rule_step.py
    python benchmarks/rule_step.py --names adan-optax adopt --pairs 15

See README.md beside this file for how it is measured. Writes results/rule_step.json.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro
from measure import Optimizer, circumstances, paired_steps, summary, within
from program import describe, jitted_step
from rich.console import Console
from rich.table import Table
from workloads import abstract, elements

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import funcopt  # noqa: E402
from tests import catalog  # noqa: E402
from tests.row import Row  # noqa: E402

SHAPES = {f"w{i:02d}": (512, 512) for i in range(12)}
BYTES = 4 * elements(SHAPES)
STEP = 1.05
# What optax's does not do, left out.
PLAIN = {"dog": {"average_gamma": None}}


def cached_compilations() -> None:
    """Compile a program once, of which each side's fresh buffers want a jitted function."""
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def told(tx: Any, extra: Mapping[str, Any]) -> optax.GradientTransformationExtraArgs:
    """The same transformation, whose `update` is always given `extra`, and whose state shares no
    buffer with the parameters, as some of optax's do.
    """
    update = optax.with_extra_args_support(tx).update

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.copy, tx.init(params))

    return optax.GradientTransformationExtraArgs(init, partial(update, **extra))


def both(row: Row) -> tuple[Optimizer, Optimizer]:
    assert row.optax is not None
    ours = row.make(**PLAIN.get(row.algorithm.__name__, {}))
    theirs = row.optax(row.rate, **row.theirs())
    return (
        Optimizer(told(ours, row.extra), funcopt),
        Optimizer(told(theirs, row.extra), optax),
    )


def program(side: Optimizer) -> dict[str, float]:
    """What the compiled step is made of, memory in units of all parameters together."""
    params = abstract(SHAPES)
    state = jax.eval_shape(side.tx.init, params)
    traced = jitted_step(side.library, side.tx).trace(params, state, params)
    compiled = traced.lower().compile()
    size = describe(traced, compiled)
    moved = (compiled.cost_analysis() or {}).get("bytes accessed", float("nan"))
    return {
        "fusions": size.fusions,
        "temporaries": round(size.temp_bytes / BYTES, 2),
        "passes": round(moved / BYTES, 2),
    }


def chosen(names: tuple[str, ...]) -> list[Row]:
    """The rows of these names; of each algorithm the first, when there are none."""
    rows = [row for row in catalog.ROWS if row.optax is not None]
    if unknown := set(names) - {row.name for row in rows}:
        sys.exit(f"unknown: {sorted(unknown)}; there are {[row.name for row in rows]}")
    if names:
        return [row for row in rows if row.name in names]
    return list({row.algorithm: row for row in reversed(rows)}.values())[::-1]


def main(
    names: tuple[str, ...] = (),
    pairs: int = 9,
    sample_seconds: float = 0.2,
    cpu_time: bool = False,
    out: Path = HERE / "results" / "rule_step.json",
) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        names: which rows of the catalogue; the first of each algorithm when none are given.
        pairs: interleaved pairs of samples.
        sample_seconds: a sample repeats the step until it has taken about this long.
        cpu_time: measure the seconds of all cores that this process gets, and not those of the
            clock on the wall, for a machine that is busy otherwise.
        out: where the JSON goes.
    """
    cached_compilations()
    view = Table("12 of 512x512", "ms", "optax, ms", "ratio", "fusions", "temporaries", "passes")
    clock = time.process_time if cpu_time else time.perf_counter
    report = circumstances("funcopt", "optax")
    report |= {"clock": clock.__name__, "target": STEP, "rows": []}
    for row in chosen(names):
        sides = both(row)
        programs = [program(side) for side in sides]
        steps, count = paired_steps(
            sides, SHAPES, pairs=pairs, sample_seconds=sample_seconds, clock=clock
        )
        step = summary(steps)
        report["rows"].append(
            {"optimizer": row.name, "step": {**step, "steps_in_a_sample": count}}
            | dict(zip(("subject", "baseline"), programs, strict=True))
        )
        view.add_row(
            row.name,
            *(f"{1e3 * step[side]:.2f}" for side in ("subject_s", "baseline_s")),
            within(step["ratio"], STEP),
            *(" / ".join(f"{p[key]:g}" for p in programs) for key in programs[0]),
        )
        out.write_text(json.dumps(report, indent=1) + "\n")
    Console().print(view)


if __name__ == "__main__":
    tyro.cli(main)
