"""What a monitor's state says, as NumPy arrays with the names of layers."""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from optax import OptState, Params

from ..core.answers import Holds, answering
from ..core.paths import path_names, some
from .columns import COLUMNS, NORMS, absent, largest
from .events import KINDS
from .recorder import LAST_STEPS, SCALARS, exponents
from .state import MonitorState
from .surges import AFTERWARDS
from .weights import weights_of

LEAST_AFTER = 5
"""So many steps after a surge its loss is looked at."""

Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class HealthEvent:
    """Something that happened at a step; `layer` is None where it concerns all of them."""

    step: int
    kind: str
    layer: str | None
    value: float


@dataclass(frozen=True)
class Surged:
    """Single steps whose gradients dwarf the usual ones: `seen` of them, the largest by `ratio` at
    step `worst`. After those that began at step `rose` the loss rose most, from `low` to `high`;
    both are NaN where it is not known.
    """

    seen: int = 0
    ratio: float = 0.0
    worst: int = -1
    low: float = np.nan
    high: float = np.nan
    rose: int = -1


@dataclass(frozen=True, repr=False)
class Series:
    """Numbers of whole steps; a number that is not known is NaN."""

    step: np.ndarray
    scalars: Numbers

    def __repr__(self) -> str:
        return f"<Series {len(self.step)} steps: {', '.join(self.scalars)}>"


@dataclass(frozen=True, repr=False)
class Readings:
    """Everything that was measured. Rows are layers, from the first to the last.

    `latest` and `mean` have an array for each of `COLUMNS`, NaN where nothing could be measured.
    `grad` and `ratio` are log10 over time: of gradient norms, and of update over parameter norms.
    `series` are the rows that are the same leaf of successive layers. `resolution` is the smallest
    difference beside 1 in a row's type, and `shrinks` whether what it is divided by can shrink.
    """

    steps: int
    records: int
    possible_records: int
    layers: tuple[str, ...]
    sizes: np.ndarray
    ndims: np.ndarray
    series: tuple[np.ndarray, ...]
    latest: Numbers
    mean: Numbers
    above: np.ndarray
    broken: np.ndarray
    run: Series
    grad: np.ndarray
    ratio: np.ndarray
    last: Series
    events: tuple[HealthEvent, ...]
    events_seen: int
    resolution: np.ndarray
    shrinks: np.ndarray
    surges: Surged = Surged()

    def __repr__(self) -> str:
        return f"<Readings of {len(self.layers)} layers: {self.records} in {self.steps} steps>"

    def now(self, name: str) -> float:
        """A number of the last step, NaN if it is not known."""
        column = self.last.scalars[name]
        return float(column[-1]) if len(column) else np.nan

    def matching(self, pattern: str) -> np.ndarray:
        return np.array([bool(re.search(pattern, name)) for name in self.layers], bool)


def find(state: OptState) -> MonitorState:
    """The monitor's state in any nesting of states."""
    found = list(_monitors(state))
    if len(found) != 1:
        raise ValueError(
            f"health: the state has {len(found) or 'no'} monitor{'s' * (len(found) > 1)} in it. "
            + (
                "Give it the state of one of them."
                if found
                else "Wrap the optimizer: `tx = funcopt.monitor(tx)`."
            )
        )
    return found[0]


def _monitors(node: Any):
    if isinstance(node, MonitorState):
        yield node
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _monitors(child)


def read(state: MonitorState, params: Params) -> Readings:
    """What `state` has seen of `params`, of which only paths, shapes and dtypes matter."""
    kept: Any = jax.tree.map(np.asarray, state.kept)
    seen: Any = kept.memory()
    layers, sizes, ndims, resolution = _layers(seen, params, _weights(state, params))
    order, series = in_depth(layers)
    steps = int(state.count)
    mean = _numbers(seen.mean)
    for name in COLUMNS[:NORMS]:
        mean[name] = _power(2.0, mean[name], exponents(seen.mean.dtype))
    run = slice(0, int(seen.run.rows))
    first = max(steps - LAST_STEPS, 0)
    last = np.arange(first, steps)
    position = {int(row): i for i, row in enumerate(order)}
    return Readings(
        steps=steps,
        records=int(seen.means),
        possible_records=-(-steps // max(int(seen.every), 1)),
        layers=tuple(layers[i] for i in order),
        sizes=sizes[order],
        ndims=ndims[order],
        series=tuple(np.array([position[row] for row in rows]) for rows in series),
        latest={name: x[order] for name, x in _numbers(seen.latest).items()},
        mean={name: x[order] for name, x in mean.items()},
        above=np.asarray(seen.above, np.float64)[order],
        broken=seen.broken[order],
        run=Series(seen.run.step[run], _scalars(seen.run.scalars[run])),
        grad=_log10(seen.run.grad[run][:, order], exponents(seen.mean.dtype)),
        ratio=_log10(seen.run.ratio[run][:, order], exponents(seen.mean.dtype)),
        last=Series(last, _scalars(seen.last[last % LAST_STEPS])),
        events=_events(seen.events, layers),
        events_seen=int(seen.events.seen),
        resolution=resolution[order],
        shrinks=seen.shrinks[order],
        surges=_surged(seen.surges, steps, _scalars(seen.last[last % LAST_STEPS])["value"]),
    )


def _surged(told: Any, steps: int, losses: np.ndarray) -> Surged:
    low, high, before = (float(_plain(x)) for x in (told.low, told.high, told.before))
    recent = losses[-LEAST_AFTER:]
    level = float(np.mean(recent)) if len(recent) and np.isfinite(recent).all() else np.nan
    rose, opened = int(told.rose), int(told.opened)
    # The last ones are not AFTERWARDS steps old yet.
    young = opened >= 0 and LEAST_AFTER <= steps - 1 - opened < AFTERWARDS
    if young and not high - low >= level - before:
        low, high, rose = before, level, opened
    return Surged(int(told.seen), float(told.ratio), int(told.worst), low, high, rose)


def _weights(state: MonitorState, params: Params) -> list[Any]:
    """What has the types of the weights that the state keeps of the parameters, or those."""
    leaves = jax.tree.leaves(params)
    if next(answering(state.inner, Holds), None) is None:
        return leaves
    shapes = [jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in leaves]
    return jax.eval_shape(weights_of, state.inner, shapes)


def resolution_of(leaf: Any) -> float:
    return float(jnp.finfo(jnp.result_type(leaf)).eps)


def _layers(
    seen: Any, params: Params, weights: list[Any]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    names, leaves = path_names(params), jax.tree.leaves(params)
    rows: list[tuple[str, int, int, float]] = []
    if len(names) == len(seen.axes):
        for name, leaf, weight, axis in zip(names, leaves, weights, seen.axes, strict=True):
            shape, size, eps = jnp.shape(leaf), jnp.size(leaf), resolution_of(weight)
            if axis < 0:
                rows.append((name, max(size, 1), len(shape), eps))
            else:
                layers = shape[axis] if axis < len(shape) else 0
                each = max(size // max(layers, 1), 1)
                rows += [(f"{name}[{i}]", each, len(shape) - 1, eps) for i in range(layers)]
    if len(rows) != seen.latest.shape[0]:
        raise ValueError(
            f"health: the state is of {len(seen.axes)} leaves ({seen.latest.shape[0]} rows), "
            f"but the parameters have {len(names)}: {some(names)}. Give the parameters that the "
            "state was made for."
        )
    sizes, ndims = (np.array([row[i] for row in rows], int) for i in (1, 2))
    return [row[0] for row in rows], sizes, ndims, np.array([row[3] for row in rows], float)


def in_depth(names: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The order of layers, and the rows that are the same leaf of successive layers.

    The tree's order, but that numbers in paths count: layer 10 comes after layer 9.
    """
    templates: dict[tuple, int] = {}
    keys, groups = [], {}
    for row, name in enumerate(names):
        key, above = [], ""
        for part in re.split(r"/|(?=\[)", name):
            above += "/" + re.sub(r"\d+", "*", part)
            rank = templates.setdefault((above,), len(templates))
            key.append((rank, tuple(map(int, re.findall(r"\d+", part)))))
        keys.append(key)
        groups.setdefault(above, []).append(row)
    order = sorted(range(len(names)), key=lambda row: keys[row])
    place = {row: i for i, row in enumerate(order)}
    series = [np.array(sorted(rows, key=place.__getitem__)) for rows in groups.values()]
    return np.array(order, int), series


def _numbers(table: np.ndarray) -> Numbers:
    return {name: _plain(table[:, i]) for i, name in enumerate(COLUMNS)}


def _scalars(table: np.ndarray) -> Numbers:
    return {name: _plain(table[:, i]) for i, name in enumerate(SCALARS)}


def _plain(x: np.ndarray) -> np.ndarray:
    """With NaN and infinity for what stands for them."""
    none, most = (x.dtype.type(f(x.dtype)) for f in (absent, largest))
    x = np.asarray(x, np.float64)
    x = np.where(x <= none, np.nan, x)
    return np.where(x >= most, np.inf, x)


def _power(base: float, exponent: np.ndarray, most: float) -> np.ndarray:
    return np.where(exponent <= -most, 0.0, base ** np.clip(exponent, -most, 1023.0))


def _log10(log2: np.ndarray, most: float) -> np.ndarray:
    """log10 of a norm: NaN of a zero, infinite of what is not finite."""
    x = np.asarray(log2, np.float64)
    plain = np.where(x <= -most, np.nan, x * np.log10(2.0))
    return np.where(x >= most, np.inf, plain)


def _events(events: Any, layers: list[str]) -> tuple[HealthEvent, ...]:
    step, code, row = events.what.T
    return tuple(
        HealthEvent(
            int(step[i]),
            KINDS[int(code[i])],
            layers[int(row[i])] if row[i] >= 0 else None,
            float(_plain(events.value[i])),
        )
        for i in np.argsort(step, kind="stable")
        if code[i] > 0
    )
