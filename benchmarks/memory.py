"""How much memory the state of each optimizer takes on GPT-2 small, by how its slots are kept.

    python benchmarks/memory.py

*Predicted* is what `funcopt.describe` says, *actual* the sum of the bytes of all arrays of the
state: of those that `jax.eval_shape(tx.init, params)` names for every optimizer of the package, and
of arrays in memory (`--real`) for AdamW, whose state is made and stepped once. In `8bit` and the
like vectors, norms and the embeddings are float32, 39 of GPT-2 small's 124 million numbers; `8bit,
embeddings too` is `ByKind("dynamic8", "log8", full=None)`.

*Temporaries* are what the compiled step of AdamW allocates beside its donated arguments, on four
leaves of 1024x1024, in units of one such leaf in float32; `chunked_step.py` measures what bounds
them. Writes results/memory.json.
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from measure import circumstances
from rich.console import Console
from rich.table import Table
from workloads import abstract, elements, gpt2_small, squares

import funcopt
from funcopt.lab import catalogue
from funcopt.storage import ByKind

OUT = Path(__file__).resolve().parent / "results" / "memory.json"
STORAGES: dict[str, Any] = {
    "float32": None,
    "16bit": "16bit",
    "8bit": "8bit",
    "8bit, embeddings too": ByKind("dynamic8", "log8", full=None),
    "4bit": "4bit",
    "4bit, embeddings too": ByKind("dynamic4", "log4", full=None),
}
VARIANTS = {"sgd": {"momentum": 0.9}, "adafactor": {}, "rmsprop": {}, "lars": {"momentum": 0.9}}


def optimizers() -> list[str]:
    """The optimizers of the package that keep slots and can be made without more arguments."""
    kinds = ("optimizer", "learning-rate-free")
    found = []
    for kind, entries in catalogue().groups.items():
        if kind in kinds or "optimizer" in kind or "rate" in kind:
            found += [entry.name for entry in entries if entry.state_bytes is not None]
    takes = [
        name for name in found if "storage" in inspect.signature(getattr(funcopt, name)).parameters
    ]
    return list(dict.fromkeys(takes))


def made(name: str, storage: Any) -> Any:
    factory = getattr(funcopt, name)
    parameters = inspect.signature(factory).parameters
    given = dict(VARIANTS.get(name, {}), storage=storage)
    first = next(iter(parameters.values()))
    return factory(1e-3, **given) if first.default is first.empty else factory(**given)


def bytes_of(state: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))


def state_rows(names: list[str]) -> list[dict[str, Any]]:
    shapes = gpt2_small()
    params, count = abstract(shapes), elements(shapes)
    rows = []
    for name in names:
        for storage, kept in STORAGES.items():
            tx = made(name, kept)
            predicted = funcopt.describe(tx, params).bytes
            actual = bytes_of(jax.eval_shape(tx.init, params))
            rows.append(
                {
                    "optimizer": name,
                    "storage": storage,
                    "predicted": predicted,
                    "actual": actual,
                    "bytes_per_parameter": actual / count,
                }
            )
    return rows


def real_rows() -> list[dict[str, Any]]:
    """AdamW's state in memory, before and after a step."""
    shapes = gpt2_small()
    params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    rows = []
    for storage, kept in STORAGES.items():
        tx = funcopt.adamw(1e-3, storage=kept)
        state = tx.init(params)
        before = sum(x.nbytes for x in jax.tree.leaves(state))
        step = jax.jit(lambda g, s, p, tx=tx: tx.update(g, s, p)[1], donate_argnums=1)
        after = sum(x.nbytes for x in jax.tree.leaves(step(params, state, params)))
        predicted = funcopt.describe(tx, params).bytes
        row = {"storage": storage, "predicted": predicted, "init": before, "step": after}
        rows.append(row | {"bytes_per_parameter": after / elements(shapes)})
    return rows


def temporaries() -> list[dict[str, Any]]:
    shapes = squares(4)
    params = abstract(shapes)
    unit = 4 * 1024 * 1024
    rows = []
    for storage, kept in STORAGES.items():
        if "embeddings" in storage:
            continue
        tx = funcopt.adamw(1e-3, storage=kept)

        def step(params: Any, state: Any, grads: Any, tx: Any = tx) -> Any:
            return funcopt.step(tx, grads, state, params)

        state = jax.eval_shape(tx.init, params)
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
        analysis = compiled.memory_analysis()
        found = None if analysis is None else analysis.temp_size_in_bytes / unit
        rows.append({"storage": storage, "leaves": found})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    view = Table(title="bytes of state per parameter, GPT-2 small")
    view.add_column("optimizer")
    for storage in STORAGES:
        view.add_column(storage, justify="right")
    for name in dict.fromkeys(row["optimizer"] for row in rows):
        own = {row["storage"]: row for row in rows if row["optimizer"] == name}
        cells = [f"{own[storage]['bytes_per_parameter']:.3f}" for storage in STORAGES]
        view.add_row(name, *cells)
    return view


def main(optimizers_of: tuple[str, ...] = (), real: bool = True, out: Path = OUT) -> None:
    """Count, print tables and write a JSON file.

    Args:
        optimizers_of: which, by name; all that keep slots where none is given.
        real: whether AdamW's states are made in memory too, of up to a gigabyte.
        out: where the JSON goes.
    """
    rows = state_rows(list(optimizers_of) or optimizers())
    report = circumstances("funcopt") | {"states": rows, "temporaries": temporaries()}
    report["real"] = real_rows() if real else []
    out.write_text(json.dumps(report, indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(rows))
    wrong = [row for row in rows if row["predicted"] != row["actual"]]
    print(f"{len(rows)} states, {len(wrong)} of which have other bytes than predicted")
    for row in report["real"]:
        print(f"in memory: {row}")
    for row in report["temporaries"]:
        print(f"temporaries in leaves of float32: {row}")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    tyro.cli(main)
