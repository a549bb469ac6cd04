"""Which rows a table of layers has: one for each leaf, or for each layer of a stacked one."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..core.leaf import by_name


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
        ValueError: a pattern matches no path, a leaf has no such axis, or several are given.
    """
    axes: list[int | None] = []
    for leaf in by_name(names, leaves, layer_axis):
        if len(leaf.stacked) > 1:
            raise ValueError(
                f"monitor: layer_axis: {leaf.path!r} has layers along {leaf.stacked}, and a table "
                "has rows for those along one axis. Give the one that is to be seen."
            )
        axes.append(leaf.stacked[0] if leaf.stacked else None)
    return Rows(names, leaves, axes)
