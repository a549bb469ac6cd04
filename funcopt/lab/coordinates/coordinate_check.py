"""The coordinate check: does what a few steps change depend on how wide a model is?

    c(width, t) = mean |h_t − h_0|      over examples and units, of each activation h
    c ~ width^slope                     the slope of log c against log width, by least squares

Where rates carry over from one width to another, no slope is far from 0. Yang et al., 2022
(https://arxiv.org/abs/2203.03466), section D.1.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from optax import Params

from ...core.step import step as one_step
from ..drawing.told import told

STEADY = 0.25
"""How far from 0 a slope may be: narrow models have slopes of up to 0.2 that vanish with width."""
Forward = Callable[[Params, Any], tuple[Array, dict[str, Array]]]


@told
@dataclass(frozen=True, eq=False)
class CoordinateCheck:
    """How much each activation was changed: `changes[width, step, activation]`, means over seeds.

    `slopes` says as which power of the width the change after all steps grows; `passed` is whether
    every activation is steady.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    steps: int
    seeds: int
    changes: np.ndarray

    @property
    def slopes(self) -> dict[str, float]:
        """By activation; NaN where nothing changed, or a number is not finite."""
        x = np.log(self.widths)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(self.changes[:, -1])
        centred = x - x.mean()
        found = centred @ np.where(np.isfinite(y), y, np.nan) / (centred @ centred)
        return dict(zip(self.names, found.tolist(), strict=True))

    @property
    def verdicts(self) -> dict[str, str]:
        """By activation: `"steady"`, `"grows"` with the width, `"fades"`, or `"unknown"`."""
        return {name: _verdict(slope) for name, slope in self.slopes.items()}

    @property
    def passed(self) -> bool:
        return all(verdict == "steady" for verdict in self.verdicts.values())

    def headline(self) -> str:
        """Whether a rate carries over, and if not, what says so most clearly."""
        if self.passed:
            worst = max(self.slopes.values(), key=abs)
            return f"passed: changes do not depend on the width (at most as width^{worst:.2f})"
        odd = {name: slope for name, slope in self.slopes.items() if _verdict(slope) != "steady"}
        name = max(odd, key=lambda name: (np.isnan(odd[name]), abs(odd[name])))
        many = f"{len(odd)} of {len(self.names)} activations depend on the width"
        if np.isnan(odd[name]):
            return f"failed: {many}; {name} did not change, or not by finite numbers"
        return f"failed: {many}; {name} {_verdict(odd[name])} as width^{odd[name]:.2f}"

    def table(self):
        """A line for each activation: its change at each width, the slope and the verdict."""
        from .table import coordinates

        return coordinates(self)

    def plot(self, ax=None):
        """Change against width, a line for each activation; returns the axes."""
        from ..drawing.figures import on
        from .plot import coordinates

        return on(ax, coordinates, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each width and step."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["width", "step", *self.names])
            for width, rows in zip(self.widths, self.changes.tolist(), strict=True):
                for number, row in enumerate(rows, 1):
                    writer.writerow([width, number, *(f"{x:.8g}" for x in row)])
        return path


def _verdict(slope: float) -> str:
    if not np.isfinite(slope):
        return "unknown"
    return "steady" if abs(slope) <= STEADY else "grows" if slope > 0 else "fades"


def coordinate_check(
    init: Callable[[Array, int], Params],
    forward: Forward,
    batch: Any,
    optimizer: optax.GradientTransformation | Callable[[Params], optax.GradientTransformation],
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    steps: int = 4,
    seeds: int = 2,
) -> CoordinateCheck:
    """The coordinate check of muP: does what a few steps change depend on the width?

    If it does, a learning rate that was tuned on a narrow model does not suit a wide one.

    Args:
        init: `init(key, width)`, the parameters of a model of this width.
        forward: `forward(params, batch)`, its loss and a dict of activations by name.
        batch: the batch of all steps.
        optimizer: a transformation, or a function of parameters, of which shapes are known, to one.
        widths: at least two, each of which is compiled and trained; below 64 a model is not yet
            like wide ones.
        steps: how many, at least 1.
        seeds: how many initial values, at least 1.

    Raises:
        ValueError: fewer than two widths, or a number that is less than 1.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> def init(key, width):
    ...     one, two = jax.random.split(key)
    ...     return {"in": jax.random.normal(one, (4, width)) / 2,
    ...             "out": jax.random.normal(two, (width, 1)) / jnp.sqrt(width)}
    >>> def forward(params, x):
    ...     hidden = jnp.tanh(x @ params["in"])
    ...     return jnp.mean((hidden @ params["out"] - 1) ** 2), {"hidden": hidden}
    >>> x = jax.random.normal(jax.random.key(0), (8, 4))
    >>> found = coordinate_check(init, forward, x, funcopt.sgd(0.1), widths=(64, 256), steps=1)
    >>> found.verdicts  # gradients of what is before the last layer shrink with the width
    {'hidden': 'fades'}

    Source: https://arxiv.org/abs/2203.03466, section D.1.
    """
    sizes = tuple(int(width) for width in widths)
    if len(set(sizes)) < 2 or min(sizes, default=0) < 1:
        raise ValueError(f"widths must be at least two different numbers above 0, got {widths!r}.")
    for name, number in (("steps", steps), ("seeds", seeds)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number!r}.")
    found = [_changes(init, forward, batch, optimizer, width, steps, seeds) for width in sizes]
    names = tuple(found[0])
    stacked = [np.stack([each[name] for name in names], axis=-1) for each in found]
    return CoordinateCheck(names, sizes, int(steps), int(seeds), np.stack(stacked))


def _changes(
    init: Callable, forward: Forward, batch: Any, optimizer: Any, width: int, steps: int, seeds: int
) -> dict[str, np.ndarray]:
    """The change of each activation after each step, at one width."""

    names: list[str] = []  # in their order, which a dict that is traced does not keep

    def trained(key: Array) -> dict[str, Array]:
        params = init(key, width)
        made = isinstance(optimizer, optax.GradientTransformation)
        tx = optimizer if made else optimizer(params)
        first = forward(params, batch)[1]
        names[:] = first

        def body(carry: tuple, _: None) -> tuple[tuple, dict[str, Array]]:
            params, state = carry
            (loss, _), grads = jax.value_and_grad(forward, has_aux=True)(params, batch)
            params, state = one_step(tx, grads, state, params, value=loss)
            now = forward(params, batch)[1]
            moved = {name: jnp.mean(jnp.abs(now[name] - first[name])) for name in first}
            return (params, state), moved

        return jax.lax.scan(body, (params, tx.init(params)), length=steps)[1]

    keys = jax.random.split(jax.random.key(0), seeds)
    found = jax.jit(jax.vmap(trained))(keys)
    return {name: np.asarray(found[name]).mean(0) for name in names}
