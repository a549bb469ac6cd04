"""What the gate costs: fusions and temporaries of every algorithm's step, compiled and not run.

Each optimizer of the tests' catalogue is compiled for 24 leaves of 1024x1024, parameters and state
donated, in three forms: plain; with a gate that is an argument; behind a global-norm clip with a
gate that says whether the norm is finite. A gate is free when it adds no array to the temporaries.

    python benchmarks/fusions.py
    python benchmarks/fusions.py --names adam lion
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from program import Program, describe
from rich.console import Console
from rich.table import Table
from step_time import circumstances
from workloads import abstract

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import funcopt  # noqa: E402
from tests import catalog  # noqa: E402

SHAPES = {f"w{i:02d}": (1024, 1024) for i in range(24)}
LEAF_BYTES = 4 * 1024 * 1024


def plain(update: Any, params: Any, state: Any, grads: Any, gate: Any) -> tuple[Any, Any]:
    del gate  # every form takes the same arguments
    updates, state = update(grads, state, params)
    return funcopt.apply_updates(params, updates), state


def gated(update: Any, params: Any, state: Any, grads: Any, gate: Any) -> tuple[Any, Any]:
    updates, state = update(grads, state, params, gate=gate)
    return funcopt.apply_updates(params, updates), state


def clipped_and_guarded(
    update: Any, params: Any, state: Any, grads: Any, gate: Any
) -> tuple[Any, Any]:
    del gate
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads)))
    scale = jnp.minimum(1.0, 1.0 / norm)
    grads = jax.tree.map(lambda g: scale * g, grads)
    return gated(update, params, state, grads, jnp.isfinite(norm))


FORMS = {"plain": plain, "gated": gated, "clipped_and_guarded": clipped_and_guarded}


def program(tx: Any, form: str, extra: Mapping[str, Any]) -> Program:
    """The compiled step of one optimizer in one form, its `update` given `extra` arguments."""
    params = abstract(SHAPES)
    state = jax.eval_shape(tx.init, params)
    gate = jax.ShapeDtypeStruct((), jnp.bool_)

    def step(params, state, grads, gate):
        return FORMS[form](partial(tx.update, **extra), params, state, grads, gate)

    traced = jax.jit(step, donate_argnums=(0, 1)).trace(params, state, params, gate)
    return describe(traced, traced.lower().compile())


def main(
    names: tuple[str, ...] = (), out: Path = HERE / "results" / "fusions.json", rate: float = 1e-3
) -> None:
    """Compile, print a table and write a JSON file.

    Args:
        names: which rows of the catalogue; all when none are given.
        out: where the JSON goes.
        rate: the learning rate that the optimizers are made with; the program is the same for all.
    """
    rows = [row for row in catalog.ROWS if not names or row.name in names]
    view = Table(title="fusions and temporary arrays (of one leaf's size) a step, 24 leaves")
    view.add_column("optimizer")
    for form in FORMS:
        view.add_column(form, justify="right")
    report = circumstances("funcopt", "optax") | {"rows": []}
    for row in rows:
        programs = {form: program(row.factory(rate), form, row.extra) for form in FORMS}
        report["rows"].append(
            {"optimizer": row.name} | {form: p._asdict() for form, p in programs.items()}
        )
        view.add_row(
            row.name,
            *(f"{p.fusions} {p.temp_bytes / LEAF_BYTES:.2f}" for p in programs.values()),
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    Console().print(view)


if __name__ == "__main__":
    tyro.cli(main)
