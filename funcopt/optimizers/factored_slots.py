"""A second moment by its factors: a mean for each row and one for each column.

    v̂ = v_row v_col / mean(v_row)

Of all products of a column and a row it is the one that is nearest to the moment itself, by the
I-divergence: Shazeer & Stern, 2018, section 3 (https://arxiv.org/abs/1804.04235).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.rule import Accumulator
from ..math.moments import abs_sq
from ..math.safe import safe_divide
from ..math.varying import AxisNames, mean_across, zeros_learnt_from


class FactoredSlots(NamedTuple):
    """`v_row` and `v_col`, with an axis of length 1 where the mean was taken; or else `v`."""

    v_row: Accumulator | None
    v_col: Accumulator | None
    v: Accumulator | None


def mean_squares(slots: FactoredSlots) -> Float[Array, "*p"]:
    """v̂ of the slots alone."""
    v_row, v_col, v = slots
    if v_row is None or v_col is None:
        assert v is not None
        return v
    rows = tuple(axis for axis, n in enumerate(v_col.shape) if n == 1)
    return abs_sq(factored_root(v_row, v_col, jnp.mean(v_row, rows, keepdims=True)))


def factored_root(
    v_row: Float[Array, "*r"], v_col: Float[Array, "*c"], whole: Float[Array, "*w"]
) -> Array:
    """√v̂ by its factors, whose product may be too large or too small for its type."""
    return jnp.sqrt(safe_divide(v_row, whole)) * jnp.sqrt(v_col)


def mean_along(x: Float[Array, "*p"], axis: int, axis_name: AxisNames) -> Float[Array, "*m"]:
    """The mean along one axis, of which the first may be sharded by hand.

    Divided before it is summed: what is finite need not have a finite sum.
    """
    mean = jnp.sum(x / x.shape[axis], axis, keepdims=True)
    return mean_across(mean, axis_name) if axis == 0 else mean


def zero_means(
    v: Float[Array, "*p"], axes: tuple[int, ...], axis_name: AxisNames
) -> tuple[Array, Array]:
    """Zeros for the means of rows and of columns, where `axes` are those of rows and of columns."""
    v_col, v_row = (jnp.mean(v, axis, keepdims=True) for axis in axes)
    return v_row, zeros_learnt_from(v_col, axis_name if axes[0] == 0 else None)
