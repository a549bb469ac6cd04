"""Which elements of a leaf are looked at: evenly spaced ones, and the second moment beside them."""

import math
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ..math.choice import where

LINE = 16
"""Numbers in a line of memory."""


class SecondMoment(NamedTuple):
    """A second moment before and after the step, and what is needed to read it.

    `mean_old` and `mean_new` are the running mean of squares, `old` and `new` what is divided by,
    which is the same but for AMSGrad. `numbers` are those of `numbers_of`, in order.
    """

    mean_old: Array
    mean_new: Array
    old: Array
    new: Array
    numbers: Float[Array, "*rows numbers"]


def numbers_of(
    decay: Any,
    share: Any,
    floor: Any,
    weight_old: Any,
    weight_new: Any,
    maximum: Any,
    step: Any,
    forgets: Any,
) -> Float[Array, " numbers"]:
    """What is needed to read a second moment.

    Args:
        decay, share: of v_{t−1} and of g² in v_t.
        floor: ε.
        weight_old, weight_new: what `old` and `new` are divided by before they are v̂.
        maximum: whether it follows the largest of the squares.
        step: the distance of neighbouring codes of v_t, as a part of it; 0 without codes.
        forgets: whether it can shrink.
    """
    numbers = decay, share, floor, weight_old, weight_new, maximum, step, forgets
    return jnp.stack([jnp.asarray(x, float) for x in numbers])


def layers_first(x: Array, axis: int | None) -> Array:
    """With the axis of stacked layers in front; one of length 1 where there is none."""
    return x[None] if axis is None else jnp.moveaxis(x, axis, 0)


def thinned(x: Array, limit: int, kept: int = 1) -> Array:
    """At most `limit` elements of each layer, evenly spaced along all axes but the `kept` first."""
    steps = [1] * kept + list(strides(x.shape[kept:], limit))
    return x if set(steps) <= {1} else jax.lax.slice(x, [0] * x.ndim, x.shape, steps)


def looked_at(x: Array, axis: int | None, limit: int) -> Shaped[Array, "layers elements"]:
    """At most `limit` elements of each layer of a leaf, in rows."""
    if axis is None:
        return thinned(x, limit, kept=0).reshape(1, -1)
    x = layers_first(x, axis)
    return thinned(x, limit).reshape(len(x), -1)


@cache
def strides(shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """The strides along each axis of which at most `limit` elements are left.

    The axis with most of them loses about every second one until there are few enough. Of the last
    axis a 16th counts: so many neighbours share a line of memory, and cost what one of them costs.
    """
    halvings, kept = [0] * len(shape), list(shape)
    while math.prod(kept) > limit:
        several = [i for i, n in enumerate(kept) if n > 1]
        most = max(several, key=lambda i: kept[i] / (LINE if i == len(shape) - 1 else 1))
        halvings[most] += 1
        kept[most] = math.ceil(shape[most] / stride(halvings[most]))
    return tuple(map(stride, halvings))


@cache
def stride(halvings: int) -> int:
    """The first prime number that is not below 2ʰ, but 3 and 7.

    Axes are often made of others, of 8, 28 or 32 pixels in a row and 3 colours: a stride that
    divides one of those sees a single column of every picture, which may be empty in all of them.
    """
    if halvings < 2:
        return 2**halvings
    n = 2**halvings + 1
    while n == 7 or any(n % i == 0 for i in range(2, math.isqrt(n) + 1)):
        n += 1
    return n


class Sample(NamedTuple):
    """Evenly spaced elements of each row, of which so many were `seen`; behind them are zeros.

    Magnitudes of gradients, updates and parameters, and nothing else of them, since XLA writes all
    of an update to memory from which two things are made; and the second moment if there is one,
    whose numbers are there for each row.
    """

    grad: Float[Array, "rows length"]
    update: Float[Array, "rows length"]
    param: Float[Array, "rows length"]
    seen: Float[Array, " rows"]
    moment: SecondMoment | None


def filled(x: Array, length: int) -> Array:
    """With zeros at the end of rows, which are so long then."""
    more = [(0, 0, 0)] * (x.ndim - 1) + [(0, length - x.shape[-1], 0)]
    return jax.lax.pad(x, np.zeros((), x.dtype), more)


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames=("axis", "limit", "length"))
def gathered_rows(
    columns: list[list[Array]], *, axis: int | None, limit: int, length: int
) -> Shaped[Array, "columns rows length"]:
    """At most `limit` elements of each layer of some columns of arrays that are alike, in rows of
    `length`.
    """

    def rows(xs: list[Array]) -> Array:
        if axis is not None:
            return jnp.concatenate([looked_at(x, axis, limit) for x in xs])
        return jnp.stack([thinned(x, limit, kept=0) for x in xs]).reshape(len(xs), -1)

    x = jnp.stack([rows(xs) for xs in columns])
    return filled(x, length)


def cut(whole: Sample, seen: Float[Array, " rows"]) -> Sample:
    """The sample, of whose rows so many elements are there: zeros behind them."""
    there = jnp.arange(whole.update.shape[1], dtype=seen.dtype)[None] < seen[:, None]
    moment = whole.moment
    if moment is not None:
        means = [where(there, x, 0) for x in moment[:4]]
        moment = SecondMoment(means[0], means[1], means[2], means[3], moment.numbers)
    update = where(there, whole.update, 0)
    return Sample(whole.grad, update, whole.param, seen, moment)


@partial(jax.jit, static_argnames=("axis", "limit", "length", "dtype"))
def sample(
    grad: Array,
    update: Array,
    param: Array,
    moment: SecondMoment | None,
    *,
    axis: int | None,
    limit: int,
    length: int,
    dtype: Any,
) -> Sample:
    """At most `limit` elements of each layer of a leaf, in rows of `length`, as `dtype`."""

    def of(x: Array) -> Array:
        return looked_at(x, axis, limit)

    g, u, p = of(grad), of(update), of(param)
    if moment is not None:
        means = [filled(of(x).astype(dtype), length) for x in moment[:4]]
        rounding = 2 * float(jnp.finfo(moment.mean_new.dtype).eps)
        numbers = jnp.append(moment.numbers.astype(dtype), jnp.asarray(rounding, dtype))
        numbers = jnp.broadcast_to(numbers, (len(g), *numbers.shape))
        moment = SecondMoment(means[0], means[1], means[2], means[3], numbers)
    return Sample(
        *(filled(x.astype(dtype), length) for x in map(jnp.abs, (g, u, p))),
        seen=jnp.full(len(g), g.shape[1], dtype),
        moment=moment,
    )
