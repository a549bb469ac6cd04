"""Which rows a table of layers has: one for each leaf, or for each layer of a stacked one."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array

from ..core.paths import some


def _layer_axis(where: str, x: Any) -> Any:
    if x is None or (isinstance(x, int) and not isinstance(x, bool)):
        return x
    if not isinstance(x, Mapping):
        raise TypeError(
            f"{where} must be None, an axis, or a dict from patterns to axes, got {x!r}."
        )
    for pattern, axis in x.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"{where}: {pattern!r} is not a regular expression: {error}."
            ) from error
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(f"{where}[{pattern!r}] must be an axis, an integer, got {axis!r}.")
    return dict(x)


LayerAxis = Annotated[Any, _layer_axis]
"""Along which axis leaves are stacked: None, an axis, or a dict from patterns to axes."""


@dataclass(frozen=True)
class Rows:
    """Leaves, and along which axis each is stacked, if it is."""

    names: list[str]
    leaves: list[Any]
    axes: list[int | None]

    @property
    def layers(self) -> list[int]:
        """How many rows each leaf has."""
        return [
            1 if axis is None else jnp.shape(x)[axis]
            for x, axis in zip(self.leaves, self.axes, strict=True)
        ]

    @property
    def starts(self) -> list[int]:
        """The first row of each leaf, and behind them how many rows there are."""
        return [0, *itertools.accumulate(self.layers)]

    @property
    def total(self) -> int:
        return sum(self.layers)

    @property
    def sizes(self) -> list[int]:
        """How many elements each row stands for, at least 1."""
        return [
            max(jnp.size(x) // layers, 1)
            for x, layers in zip(self.leaves, self.layers, strict=True)
            for _ in range(layers)
        ]

    @property
    def kept_axes(self) -> Array:
        """The axes as a state has them, -1 for none."""
        return jnp.array([-1 if axis is None else axis for axis in self.axes], jnp.int32)


def rows_of(names: list[str], leaves: list[Any], layer_axis: Any) -> Rows:
    """The rows of `leaves`, whose paths are `names`.

    Raises:
        ValueError: a pattern matches no path, or a leaf has no such axis.
    """
    if layer_axis is None or not names:
        return Rows(names, leaves, [None] * len(names))
    pairs = {"": layer_axis} if isinstance(layer_axis, int) else layer_axis
    for pattern in pairs:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(
                f"monitor: layer_axis: the pattern {pattern!r} matches no parameter. The "
                f"parameters are: {some(names, 20)}."
            )
    axes: list[int | None] = []
    for name, leaf in zip(names, leaves, strict=True):
        axis = next((a for pattern, a in pairs.items() if re.search(pattern, name)), None)
        ndim = jnp.ndim(leaf)
        if axis is not None and not -ndim <= axis < ndim:
            raise ValueError(f"monitor: layer_axis: {name!r} has {ndim} axes, and no axis {axis}.")
        axes.append(None if axis is None else axis % ndim)
    return Rows(names, leaves, axes)
