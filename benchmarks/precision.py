"""How far Adam's direction goes astray when its slots are kept in few bits, here and elsewhere.

    python benchmarks/precision.py
    python benchmarks/precision.py --recorded none

Both moments are kept by a codec and renewed at every step, open loop, beside moments in float64.
What is compared is u = mu_hat / (√nu_hat + eps) over the second half of the steps:

- *error*, the norm of the difference relative to that of the exact direction;
- *length*, the ratio of the two norms;
- *largest*, the largest element, of which the exact one is told beside.

Gradients are synthetic, of Student's t with 4 degrees of freedom at scales that differ by element
within every block by exp(σ normal), σ = 1 ordinary and 2.5 as of rare words; and recorded ones, of
models of `funcopt.lab` in training. *Tracking* is the median of √(kept / exact) of mean squares
with decay 0.999 after the gradients of every other element fell to a tenth, 3,000 steps later.

The codecs of other libraries are written here from their formulas, in NumPy: bitsandbytes' dynamic
maps (Dettmers et al., 2022), torchao's float8 E4M3 and its maps of four bits (Li et al., 2023), and
FlashOptim's softsign and square root with float16 scales in groups of 32 (2026). Bits are those of
both moments with their scales; the matrices of the lab's models are narrower than a block, and are
given to funcopt's codecs as rows of 128, so that the bits are those of wide ones. Writes
results/precision.json.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import tyro
from measure import circumstances
from rich.console import Console
from rich.table import Table

import funcopt
from funcopt.core.again import by_chance
from funcopt.lab import get_task
from funcopt.math.rounding import even_noise
from funcopt.storage import BFloat16, Codec, Dynamic4, Dynamic8, Log4, Log8

OUT = Path(__file__).resolve().parent / "results" / "precision.json"
B1, EPS = 0.9, 1e-8
Rounded = Callable[[np.ndarray, int, float], np.ndarray]
"""What is read again of an array that is kept at a step, for a mean with a decay."""


class Way(NamedTuple):
    """How two moments are kept, and in how many bits together."""

    first: Rounded
    second: Rounded
    bits: float


@dataclass(frozen=True)
class Ours:
    """One of funcopt's codecs, rounded as it chooses by the decay."""

    codec: Codec
    kind: str
    salt: int

    def __call__(self, x: np.ndarray, step: int, decay: float) -> np.ndarray:
        drawn = bool(by_chance(self.codec, self.kind, decay))
        rows = jnp.float32(x).reshape(-1, 128)
        return np.asarray(_there_and_back(self.codec, drawn, self.salt, rows, step)).reshape(
            x.shape
        )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _there_and_back(codec: Codec, drawn: bool, salt: int, x: jax.Array, step: Any) -> jax.Array:
    noise = even_noise(x.shape, step, salt) if drawn else None
    return codec.decode(codec.encode(x, noise), x.shape, jnp.float32)


def ours(first: Codec, second: Codec, bits: float) -> Way:
    return Way(Ours(first, "signed", 1), Ours(second, "nonnegative", 2), bits)


# --- other libraries -----------------------------------------------------------------------------


def blocks_of(x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of consecutive elements in the order of memory, and their largest magnitudes."""
    flat = np.ravel(x)
    rows = np.pad(flat, (0, -len(flat) % size)).reshape(-1, size)
    return rows, np.abs(rows).max(1, keepdims=True)


def flat_again(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    return rows.reshape(-1)[: x.size].reshape(x.shape)


def nearest(u: np.ndarray, entries: np.ndarray) -> np.ndarray:
    return entries[np.searchsorted((entries[1:] + entries[:-1]) / 2, u)]


@cache
def dynamic_map(signed: bool, exponent_bits: int, bits: int) -> np.ndarray:
    entries: list[float] = []
    for i in range(exponent_bits):
        count = 2 ** (i + bits - 1 - exponent_bits + (not signed))
        ends = np.linspace(0.1, 1, count + 1)
        middles = 10.0 ** (i - exponent_bits + 1) * (ends[:-1] + ends[1:]) / 2
        entries += [*middles, *(-middles if signed else [])]
    return np.sort([*entries, 0.0, 1.0])


def mapped(entries: np.ndarray, size: int) -> Rounded:
    """The nearest entry of a map, times the largest of a block in float32."""

    def kept(x: np.ndarray, step: int, decay: float) -> np.ndarray:
        del step, decay  # to the nearest, always
        rows, scale = blocks_of(x, size)
        unit = np.where(scale == 0, 1, np.float32(scale))
        return flat_again(nearest(rows / unit, entries) * unit, x)

    return kept


def float8(size: int) -> Rounded:
    def kept(x: np.ndarray, step: int, decay: float) -> np.ndarray:
        del step, decay  # to the nearest, always
        rows, scale = blocks_of(x, size)
        unit = np.maximum(np.float32(scale), 1e-12) / 448
        codes = (rows / unit).astype(ml_dtypes.float8_e4m3fn)
        return flat_again(codes.astype(np.float64) * unit, x)

    return kept


def softsign(x: np.ndarray, step: int, decay: float) -> np.ndarray:
    del step, decay  # to the nearest, always
    rows, scale = blocks_of(x, 32)
    u = rows / np.where(scale == 0, 1, scale)
    z = np.round(127 * 2 * u / (1 + np.abs(u))) / 127
    return flat_again(z / (2 - np.abs(z)) * half(scale), x)


def square_root(x: np.ndarray, step: int, decay: float) -> np.ndarray:
    del step, decay  # to the nearest, always
    rows, scale = blocks_of(np.sqrt(x), 32)
    q = np.round(255 * rows / np.where(scale == 0, 1, scale)) / 255
    return flat_again((q * half(scale)) ** 2, x)


def half(scale: np.ndarray) -> np.ndarray:
    return scale.astype(np.float16).astype(np.float64)


def linear(x: np.ndarray, step: int, decay: float) -> np.ndarray:
    del step, decay  # to the nearest, always
    rows, scale = blocks_of(x, 256)
    most = 127 if (x < 0).any() else 255
    unit = np.where(scale == 0, 1, np.float32(scale))
    return flat_again(np.round(rows / unit * most) / most * unit, x)


def bfloat16(x: np.ndarray, step: int, decay: float) -> np.ndarray:
    del step, decay  # to the nearest, always
    return x.astype(ml_dtypes.bfloat16).astype(np.float64)


WAYS: Mapping[str, Way] = {
    "bfloat16 to the nearest": Way(bfloat16, bfloat16, 32),
    "funcopt 16bit": ours(BFloat16(), BFloat16(), 32),
    "linear int8": Way(linear, linear, 16.25),
    "torchao float8": Way(float8(256), float8(256), 16.25),
    "bitsandbytes 8-bit": Way(
        mapped(dynamic_map(True, 7, 8), 256), mapped(dynamic_map(False, 7, 8), 256), 16.25
    ),
    "FlashOptim": Way(softsign, square_root, 17),
    "funcopt 8bit": ours(Dynamic8(), Log8(), 16.25),
    "funcopt 8bit, blocks of 32": ours(Dynamic8(32), Log8(32, per_octave=14), 17),
    "torchao 4-bit": Way(
        mapped(dynamic_map(True, 3, 4), 128), mapped(np.arange(1, 17) / 16, 128), 8.5
    ),
    "funcopt 4bit": ours(Dynamic4(), Log4(), 8.5),
    "funcopt dynamic4 and log8": ours(Dynamic4(), Log8(), 12.375),
}


# --- gradients -----------------------------------------------------------------------------------


def synthetic(sigma: float, steps: int = 200) -> Iterator[dict[str, np.ndarray]]:
    random, shape = np.random.default_rng(0), (64, 256)
    scale = 1e-4 * np.exp(sigma * random.standard_normal(shape))
    common = 0.3 * random.standard_normal(shape)
    for _ in range(steps):
        yield {"": (scale * (random.standard_t(4, shape) + common)).astype(np.float32)}


def recorded(name: str, steps: int = 200) -> Iterator[dict[str, np.ndarray]]:
    """The gradients of the matrices of a model in training, one batch at a step."""
    task: Any = get_task(name)
    start, batches = jax.random.split(jax.random.key(0))
    params, tx = task.init(start), funcopt.adamw(3e-3)
    state = tx.init(params)

    @jax.jit
    def step(params: Any, state: Any, t: jax.Array) -> tuple[Any, Any, Any]:
        grads = jax.grad(task.loss)(params, task.sample(batches, t))
        return *funcopt.step(tx, grads, state, params), grads

    for t in range(steps):
        params, state, grads = step(params, state, jnp.int32(t))
        leaves = jax.tree_util.tree_leaves_with_path(grads)
        yield {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(x)
            for path, x in leaves
            if x.ndim > 1 and x.size >= 1024
        }


class Moments(NamedTuple):
    first: np.ndarray
    second: np.ndarray

    def after(self, g: np.ndarray, b2: float) -> "Moments":
        return Moments(
            B1 * self.first + (1 - B1) * g, b2 * self.second + (1 - b2) * np.float64(g) ** 2
        )

    def direction(self, t: int, b2: float) -> np.ndarray:
        return (self.first / (1 - B1**t)) / (np.sqrt(self.second / (1 - b2**t)) + EPS)


def errors(grads: list[dict[str, np.ndarray]], way: Way, b2: float) -> dict[str, Any]:
    """What is kept in few bits beside what is exact, over all arrays, and of the worst one."""
    sums: dict[str, np.ndarray] = {}
    largest = [0.0, 0.0]
    zeros = {name: np.zeros(x.shape) for name, x in grads[0].items()}
    exact = {name: Moments(x, x) for name, x in zeros.items()}
    kept = dict(exact)
    for t, step in enumerate(grads, 1):
        for name, g in step.items():
            exact[name] = exact[name].after(g, b2)
            new = kept[name].after(g, b2)
            kept[name] = Moments(
                way.first(new.first, t, B1).astype(np.float64),
                way.second(new.second, t, b2).astype(np.float64),
            )
            if t > len(grads) // 2:
                u, v = exact[name].direction(t, b2), kept[name].direction(t, b2)
                parts = np.array([np.sum((u - v) ** 2), np.sum(v**2), np.sum(u**2)])
                sums[name] = sums.get(name, 0) + parts
                sizes = zip(largest, (v, u), strict=True)
                largest = [max(x, float(np.abs(y).max())) for x, y in sizes]
    whole = sum(sums.values())
    assert isinstance(whole, np.ndarray)
    each = {name: float(np.sqrt(x[0] / x[2])) for name, x in sums.items() if x[2]}
    worst = max(each, key=each.__getitem__)
    return {
        "error": float(np.sqrt(whole[0] / whole[2])),
        "length": float(np.sqrt(whole[1] / whole[2])),
        "largest": largest[0],
        "largest_exact": largest[1],
        "worst": worst,
        "worst_error": each[worst],
    }


def tracking(way: Way, b2: float = 0.999, steps: int = 6000) -> dict[str, float]:
    """√(kept / exact) where gradients fell, at the end: the median, and 5 % and 95 %."""
    random, shape = np.random.default_rng(1), (8, 256)
    scale = np.exp(random.standard_normal(shape))
    exact = kept = np.zeros(shape)
    fell = np.arange(shape[1]) % 2 == 0
    for t in range(1, steps + 1):
        drop = np.where(fell & (t > steps // 2), 0.1, 1.0)
        square = (scale * random.standard_normal(shape) * drop[None]) ** 2
        exact = b2 * exact + (1 - b2) * square
        kept = way.second(b2 * kept + (1 - b2) * square, t, b2).astype(np.float64)
    low, median, high = np.quantile(np.sqrt(kept / exact)[:, fell], [0.05, 0.5, 0.95])
    return {"median": float(median), "low": float(low), "high": float(high)}


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """A line for each way, a cell for each kind of gradients and decay."""
    view = Table(title=title)
    view.add_column("moments kept by")
    view.add_column("bits")
    cells = list(dict.fromkeys((row["gradients"], row["b2"]) for row in rows))
    for name, b2 in cells:
        view.add_column(f"{name}\nb2={b2}")
    for way in dict.fromkeys(row["way"] for row in rows):
        own = {(row["gradients"], row["b2"]): row for row in rows if row["way"] == way}
        texts = [
            f"{row['error']:.3f} / {row['length']:.2f} / {row['largest']:.1f}"
            for row in (own[cell] for cell in cells)
        ]
        style = "bold" if way.startswith("funcopt") else ""
        view.add_row(way, f"{WAYS[way].bits:g}", *texts, style=style)
    return view


def main(
    recorded_of: tuple[Literal["digits", "characters"], ...] = ("digits", "characters"),
    tracked: bool = True,
    out: Path = OUT,
) -> None:
    """Measure, print tables and write a JSON file.

    Args:
        recorded_of: tasks of the lab whose gradients are taken beside the synthetic ones.
        tracked: whether tracking is measured, which takes half a minute for each codec.
        out: where the JSON goes.
    """
    given = {f"σ = {sigma}": list(synthetic(sigma)) for sigma in (1.0, 2.5)}
    given |= {name: list(recorded(name)) for name in recorded_of}
    rows: list[dict[str, Any]] = []
    follows: list[dict[str, Any]] = []
    report = circumstances("funcopt") | {"directions": rows, "tracking": follows}
    for name, way in WAYS.items():
        for gradients, grads in given.items():
            for b2 in (0.999, 0.95):
                about = {"way": name, "bits": way.bits, "gradients": gradients, "b2": b2}
                rows.append(about | errors(grads, way, b2))
        if tracked:
            follows.append({"way": name, "bits": way.bits} | tracking(way))
    out.write_text(json.dumps(report, indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table("Adam's direction: error / length / largest element", rows))
    for row in follows:
        console.print(
            f"{row['way']:28} tracking {row['median']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
        )


if __name__ == "__main__":
    tyro.cli(main)
