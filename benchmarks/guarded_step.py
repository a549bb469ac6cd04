"""What a guarded step costs: against optax's unguarded one, watched, and accumulated.

Every optimizer here is AdamW behind a clip by the global norm, under a warm-up and a cosine.

- **guarded**: `guard(chain(clip_by_global_norm, adamw))` against optax's unguarded chain;
- **monitored**: the same inside `monitor(..., every=10)`, against itself unwatched;
- **monitored_in_a_loop**: that, both as one program that runs many steps;
- **accumulated**: `accumulate(chain(...), 8)` against `optax.MultiSteps`, the mean micro-step;
- **gate_against_cond**: that, against the same accumulation with a `lax.cond` around the step.

    python benchmarks/guarded_step.py --pairs 9

See README.md beside this file for how it is measured. Writes results/guarded_step.json.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import tyro
from measure import Optimizer, circumstances, paired_steps, summary, within
from program import jitted_step
from rich.console import Console
from rich.table import Table
from workloads import Shapes, abstract, elements, gpt2_small, mlp, squares

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "guarded_step.json"
WORKLOADS: Mapping[str, Shapes] = {
    "gpt2_small": gpt2_small(),
    "24_x_1024x1024": squares(24),
    "mlp_1m": mlp(512, 1024, 512, 10),
}
LARGE = ("gpt2_small", "24_x_1024x1024")
EVERY = 10
MICRO_BATCHES = 8
MONITORED_LEAVES = 200


def clipped(library: Any) -> Any:
    schedule = library.warmup_cosine_decay_schedule(0.0, 1e-3, warmup_steps=100, decay_steps=10_000)
    return library.chain(library.clip_by_global_norm(1.0), library.adamw(schedule))


def guarded() -> Any:
    return funcopt.guard(clipped(funcopt))


class ByCond(NamedTuple):
    inner: Any
    mean: Any
    micro: jax.Array


def accumulated_by_cond(inner: Any, every: int) -> optax.GradientTransformation:
    """Accumulation as it would be with the inner step in one branch of a `lax.cond`."""

    def init(params: Any) -> ByCond:
        return ByCond(inner.init(params), jax.tree.map(jnp.zeros_like, params), jnp.int32(0))

    def update(grads: Any, state: ByCond, params: Any = None) -> tuple[Any, ByCond]:
        share = 1 / (state.micro + 1).astype(jnp.float32)
        mean = jax.tree.map(
            lambda m, g: jnp.where(state.micro == 0, 0, m) * (1 - share) + share * g,
            state.mean,
            grads,
        )
        last = state.micro + 1 == every
        updates, inside = jax.lax.cond(
            last,
            lambda: inner.update(mean, state.inner, params),
            lambda: (jax.tree.map(jnp.zeros_like, grads), state.inner),
        )
        return updates, ByCond(inside, mean, jnp.where(last, 0, state.micro + 1))

    return optax.GradientTransformation(init, update)


def multi_steps() -> Any:
    return optax.MultiSteps(clipped(optax), MICRO_BATCHES).gradient_transformation()


class Comparison(NamedTuple):
    """`target` says what the ratio may be at most, of large leaves and of a small network."""

    subject: Callable[[], Optimizer]
    baseline: Callable[[], Optimizer]
    multiple: int
    target: tuple[float | None, float | None]
    looped: bool = False


def ours(make: Callable[[], Any]) -> Callable[[], Optimizer]:
    return lambda: Optimizer(make(), funcopt)


def theirs(make: Callable[[], Any]) -> Callable[[], Optimizer]:
    return lambda: Optimizer(make(), optax)


COMPARISONS: Mapping[str, Comparison] = {
    "guarded": Comparison(ours(guarded), theirs(partial(clipped, optax)), 1, (0.60, 0.90)),
    "monitored": Comparison(
        ours(lambda: funcopt.monitor(guarded(), every=EVERY)), ours(guarded), EVERY, (1.10, 1.10)
    ),
    "monitored_in_a_loop": Comparison(
        ours(lambda: funcopt.monitor(guarded(), every=EVERY)),
        ours(guarded),
        EVERY,
        (1.10, 1.10),
        looped=True,
    ),
    "accumulated": Comparison(
        ours(lambda: funcopt.accumulate(clipped(funcopt), MICRO_BATCHES)),
        theirs(multi_steps),
        MICRO_BATCHES,
        (0.50, None),
    ),
    "gate_against_cond": Comparison(
        ours(lambda: funcopt.accumulate(clipped(funcopt), MICRO_BATCHES)),
        ours(lambda: accumulated_by_cond(clipped(funcopt), MICRO_BATCHES)),
        MICRO_BATCHES,
        (None, None),
    ),
}


def temp_bytes(optimizer: Optimizer, shapes: Shapes) -> int:
    """What the compiled step allocates beside its arguments and results."""
    params = abstract(shapes)
    state = jax.eval_shape(optimizer.tx.init, params)
    compiled = jitted_step(optimizer.library, optimizer.tx).lower(params, state, params).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def monitor_bytes() -> int:
    """What a monitor adds to the state of an optimizer of `MONITORED_LEAVES` leaves."""
    params = abstract({f"w{i:03d}": (8, 8) for i in range(MONITORED_LEAVES)})

    def size(tx: Any) -> int:
        state = jax.eval_shape(tx.init, params)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))

    return size(funcopt.monitor(guarded(), every=EVERY)) - size(guarded())


def table(report: Mapping[str, Any]) -> Table:
    view = Table(title="medians of paired ratios (target)")
    for name in ("workload", "comparison", "ms", "ratio", "range", "temporaries MiB"):
        view.add_column(name, justify="left" if name in ("workload", "comparison") else "right")
    for row in report["rows"]:
        step, target = row["step"], row["target"]
        view.add_row(
            row["workload"],
            row["comparison"],
            f"{1e3 * step['subject_s']:.3g} / {1e3 * step['baseline_s']:.3g}",
            f"{step['ratio']:.2f}" if target is None else within(step["ratio"], target),
            f"{step['ratio_min']:.2f} to {step['ratio_max']:.2f}",
            f"{row['subject_temp_bytes'] / 2**20:.1f} / {row['baseline_temp_bytes'] / 2**20:.1f}",
        )
    return view


def main(
    workloads: Sequence[str] = tuple(WORKLOADS),
    comparisons: Sequence[str] = tuple(COMPARISONS),
    pairs: int = 9,
    sample_seconds: float = 0.3,
    out: Path = OUT,
) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        workloads: which parameter trees, by name.
        comparisons: which comparisons, by name.
        pairs: interleaved pairs.
        sample_seconds: a sample repeats a short step until it has taken about this long.
        out: where the JSON goes.
    """
    unknown = (set(workloads) - set(WORKLOADS)) | (set(comparisons) - set(COMPARISONS))
    if unknown:
        sys.exit(f"unknown: {sorted(unknown)}; there are {[*WORKLOADS]} and {[*COMPARISONS]}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    report = circumstances("funcopt", "optax")
    report |= {
        "monitored_leaves": MONITORED_LEAVES,
        "monitor_bytes": monitor_bytes(),
        "rows": [],
    }
    for workload in workloads:
        shapes = WORKLOADS[workload]
        for name in comparisons:
            comparison = COMPARISONS[name]
            sides = comparison.subject(), comparison.baseline()
            measured, steps = paired_steps(
                sides,
                shapes,
                pairs=pairs,
                sample_seconds=sample_seconds,
                multiple=comparison.multiple,
                looped=comparison.looped,
            )
            row = {
                "workload": workload,
                "leaves": len(shapes),
                "elements": elements(shapes),
                "comparison": name,
                "target": comparison.target[workload not in LARGE],
                "steps_per_sample": steps,
                "step": summary(measured),
                "subject_temp_bytes": temp_bytes(sides[0], shapes),
                "baseline_temp_bytes": temp_bytes(sides[1], shapes),
            }
            report["rows"].append(row)
            console.print(f"{workload} {name}: {row['step']['ratio']:.3f}")
            out.write_text(json.dumps(report, indent=1) + "\n")
    console.print(table(report))
    kib = report["monitor_bytes"] / 1024
    console.print(f"a monitor of {MONITORED_LEAVES} leaves keeps {kib:.1f} KiB (target 64)")


if __name__ == "__main__":
    tyro.cli(main)
