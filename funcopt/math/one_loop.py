"""Several numbers or reductions in one loop: less to compile, and less that each call pays for."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

Way = Callable[[Array, Array], Array]


def in_one_loop(
    columns: Sequence[Shaped[Array, "*rows n"]],
    ways: Sequence[Way],
    starts: Sequence[float] | None = None,
) -> list[Shaped[Array, "*rows"]]:
    """Arrays of one shape reduced along their last axis, each in its way. There is no derivative.

    Args:
        columns: the arrays.
        ways: for each of them `jax.lax.add`, `max` or `min`.
        starts: what each begins with, 0 if it is not given.
    """
    columns = [jax.lax.stop_gradient(x) for x in columns]
    begun = zip(starts or [0] * len(columns), columns, strict=True)
    first = [np.array(start, x.dtype) for start, x in begun]
    return list(jax.lax.reduce(columns, first, _each(tuple(ways)), (columns[0].ndim - 1,)))


@cache
def _each(ways: tuple[Way, ...]) -> Callable[..., tuple[Array, ...]]:
    """All of them in one function, the same for the same ones: XLA compiles it once."""

    def combine(a: Sequence[Array], b: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(way(x, y) for way, x, y in zip(ways, a, b, strict=True))

    return combine


def packed(numbers: Sequence[ArrayLike]) -> Shaped[Array, " numbers"]:
    """Scalars of one type as a vector.

    By a choice: of parts that are put together XLA makes a program for each.
    """
    lines = [jnp.broadcast_to(x, len(numbers)) for x in numbers]
    return jax.lax.select_n(jax.lax.iota(jnp.int32, len(numbers)), *lines)


def unpacked(line: ArrayLike) -> tuple[Any, ...]:
    """The numbers of a vector, or of each of several."""
    if isinstance(line, np.ndarray):
        return tuple(np.moveaxis(line, -1, 0))
    return tuple(jnp.unstack(jnp.asarray(line), axis=-1))
