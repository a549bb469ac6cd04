"""Whether training is the same when slots are kept in fewer bits: paired seeds, three models.

    python benchmarks/storage_training.py
    python benchmarks/storage_training.py --models digits --storages 8bit

Each seed is trained with float32 slots and with every storage, from the same weights on the same
batches; AdamW, the rate falling along a cosine, all seeds in one program. What is compared is the
loss on data that training does not see. Two storages are *equivalent* (two one-sided t tests, 5 %)
where the 90 % interval of the mean of paired differences lies within half a standard deviation of
float32's losses over seeds. Here every matrix is kept in fewer bits, embeddings and heads too,
which the names of storages leave in float32. Writes results/storage_training.json.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import circumstances
from rich.console import Console
from rich.table import Table
from scipy import stats

import funcopt
from funcopt.lab import get_task
from funcopt.lab.problems.characters import LETTERS, load_characters
from funcopt.lab.problems.task import cross_entropy
from funcopt.storage import ByKind

OUT = Path(__file__).resolve().parent / "results" / "storage_training.json"
MARGIN = 0.5
ROWS, WIDTH, WORDS = 4096, 32, 256


class Model(NamedTuple):
    """What is trained: weights of a key, batches of a key and a step, and the losses of both."""

    init: Callable[[Any], Any]
    sample: Callable[[Any, Any], Any]
    loss: Callable[[Any, Any], Any]
    tested: Callable[[Any], Any]
    rate: float
    steps: int
    seeds: int


def of_task(name: str, rate: float, steps: int, seeds: int) -> Model:
    task: Any = get_task(name)
    return Model(
        task.init,
        task.sample,
        task.loss,
        lambda params: task.evaluate(params)["loss"],
        rate,
        steps,
        seeds,
    )


def embeddings() -> Model:
    """The next letter after three, of which each triple and each pair has an embedding."""
    codes = load_characters().astype(np.int32)
    train, test = map(jnp.asarray, np.split(codes, [len(codes) * 9 // 10]))

    def rows(text: jax.Array) -> tuple[jax.Array, jax.Array]:
        pairs = text[:-1] * LETTERS + text[1:]
        triples = pairs[:-1] * LETTERS + text[2:]
        mixed = triples.astype(jnp.uint32) * jnp.uint32(2654435761)
        return (mixed >> jnp.uint32(20)).astype(jnp.int32) % ROWS, pairs[1:] % ROWS

    def init(key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, 3)
        return {
            "triples": 0.1 * jax.random.normal(keys[0], (ROWS, WIDTH)),
            "pairs": 0.1 * jax.random.normal(keys[1], (ROWS, WIDTH)),
            "out": jax.random.normal(keys[2], (WIDTH, LETTERS)) / math.sqrt(WIDTH),
        }

    def loss(params: dict[str, jax.Array], text: jax.Array) -> jax.Array:
        triples, pairs = rows(text)
        x = params["triples"][triples[:-1]] + params["pairs"][pairs[:-1]]
        return cross_entropy(jax.nn.relu(x) @ params["out"], text[3:])

    def sample(key: jax.Array, step: jax.Array) -> jax.Array:
        start = jax.random.randint(jax.random.fold_in(key, step), (), 0, len(train) - WORDS)
        return jax.lax.dynamic_slice_in_dim(train, start, WORDS)

    return Model(init, sample, loss, lambda params: loss(params, test), 1e-2, 600, 16)


MODELS: dict[str, Callable[[], Model]] = {
    "digits": lambda: of_task("digits", 3e-3, 300, 16),
    "characters": lambda: of_task("characters", 3e-3, 300, 12),
    "embeddings": embeddings,
}
STORAGES = {
    "16bit": ByKind("bfloat16", "bfloat16", min_size=0, full=None),
    "8bit": ByKind("dynamic8", "log8", min_size=0, full=None),
    "4bit": ByKind("dynamic4", "log4", min_size=0, full=None),
}


def losses(model: Model, storage: Any) -> np.ndarray:
    """The loss of each seed at the end."""
    rate = funcopt.cosine_decay_schedule(model.rate, model.steps)
    tx = funcopt.adamw(rate, storage=storage)

    def trained(seed: jax.Array) -> jax.Array:
        start, batches = jax.random.split(jax.random.key(seed))
        params = model.init(start)

        def step(carry: Any, t: jax.Array) -> tuple[Any, None]:
            params, state = carry
            grads = jax.grad(model.loss)(params, model.sample(batches, t))
            return funcopt.step(tx, grads, state, params), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(model.steps))
        return model.tested(params)

    return np.asarray(jax.jit(jax.vmap(trained))(jnp.arange(model.seeds)), np.float64)


def equivalence(wide: np.ndarray, narrow: np.ndarray) -> dict[str, Any]:
    """The paired difference in standard deviations over seeds, with its 90 % interval."""
    deviation = float(np.std(wide, ddof=1))
    difference = (narrow - wide) / deviation
    mean, n = float(np.mean(difference)), len(wide)
    half = float(stats.t.ppf(0.95, n - 1) * np.std(difference, ddof=1) / math.sqrt(n))
    return {
        "seeds": n,
        "loss": float(np.mean(narrow)),
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "margin": MARGIN,
        "equivalent": abs(mean) + half < MARGIN,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    view = Table(title="loss at the end beside float32, in standard deviations over seeds")
    for name in ("model", "seeds", "float32", "storage", "loss", "difference (90 %)", "equivalent"):
        view.add_column(name)
    for row in rows:
        view.add_row(
            row["model"],
            str(row["seeds"]),
            f"{row['float32']:.4f} ± {row['deviation']:.4f}",
            row["storage"],
            f"{row['loss']:.4f}",
            f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})",
            "[green]yes[/]" if row["equivalent"] else "[red]not shown[/]",
        )
    return view


def main(
    models: tuple[str, ...] = tuple(MODELS),
    storages: tuple[str, ...] = tuple(STORAGES),
    seeds: int | None = None,
    out: Path = OUT,
) -> None:
    """Train, print a table and write a JSON file.

    Args:
        models: which models, by name.
        storages: which storages beside float32, by name.
        seeds: how many; None for what each model has.
        out: where the JSON goes.
    """
    rows: list[dict[str, Any]] = []
    report = circumstances("funcopt") | {"rows": rows}
    for name in models:
        model = MODELS[name]()
        model = model if seeds is None else model._replace(seeds=seeds)
        start = time.perf_counter()
        wide = losses(model, None)
        about = {"model": name, "steps": model.steps, "float32": float(np.mean(wide))}
        about["deviation"] = float(np.std(wide, ddof=1))
        for storage in storages:
            found = equivalence(wide, losses(model, STORAGES[storage]))
            rows.append(about | {"storage": storage} | found)
        print(f"{name}: {time.perf_counter() - start:.0f} s")
    out.write_text(json.dumps(report, indent=1) + "\n")
    Console(width=None if sys.stdout.isatty() else 140).print(table(rows))


if __name__ == "__main__":
    tyro.cli(main)
