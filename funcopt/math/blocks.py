"""Matrices cut into blocks of one size, the last ones of which are filled up with zeros."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact


def block_grid(shape: tuple[int, ...], size: Any) -> tuple[int, int, int, int]:
    """How many blocks there are along both axes, and their shape: at most `size` each way."""
    rows, columns = (min(max(n, 1), size) for n in shape)
    return -(-shape[0] // rows), -(-shape[1] // columns), rows, columns


def blocked(x: Inexact[Array, "l m"], size: Any) -> Inexact[Array, "k n r c"]:
    """The blocks of a matrix."""
    k, n, r, c = block_grid(x.shape, size)
    padded = jnp.pad(x, ((0, k * r - x.shape[0]), (0, n * c - x.shape[1])))
    return padded.reshape(k, r, n, c).swapaxes(1, 2)


def unblocked(blocks: Inexact[Array, "k n r c"], shape: tuple[int, ...]) -> Inexact[Array, "l m"]:
    """The matrix of this shape that these are the blocks of."""
    k, n, r, c = blocks.shape
    return blocks.swapaxes(1, 2).reshape(k * r, n * c)[: shape[0], : shape[1]]
