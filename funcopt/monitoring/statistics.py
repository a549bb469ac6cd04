"""What is measured of one leaf: arrays in, arrays out.

    grad_norm       ‖g‖                            over all elements
    update_norm     √(n · mean u²)
    param_norm      √(n · mean p²)
    zero            mean (g = 0)
    negligible      mean (0 < |g| < 10⁻³ RMS(g))
    nonfinite       mean (g is NaN or infinite)
    eps_dominated   mean (√v̂ < ε)                  where g ≠ 0 and v̂ > 0
    v_lag           mean log (g² / v̂)              where g ≠ 0 and v̂ > 0
    rms             √ mean (g² / max(v̂, ε²))       StableAdamW's RMS_t
    spike           max (g² / v̂_{t−1})             SPAM's score
    lost            mean (|p| + |u| = |p|, u ≠ 0)  rounded to the parameter's type

Means are over all n elements of a leaf of at most `limit`, over evenly spaced ones of a larger
leaf. v̂ is the second moment that the optimizer divides by, ε what it adds to the root of it. A
stacked leaf gives one row for each layer.

In the columns that have v̂, g is the gradient as the optimizer saw it: behind clips, weight decay
or accumulation. It is what has changed the running mean of squares v, with decay β:

    g² = (v_t − β v_{t−1}) / (1 − β)                at least 2 ε_v v_t / (1 − β), below which it
                                                    is rounding: ε_v of the type of v
    g² = v_t − v_{t−1}                              of a sum (AdaGrad), whose v̂ is the mean v_t / t
    g² = v_t where v_t > β v_{t−1}                  of a maximum (Adamax); else it is not known, and
                                                    the gradient as it came stands for it

Everything is as wide as the table that is asked for: float32, or float64.

RMS_t: Wortsman et al., 2023 (https://arxiv.org/abs/2304.13013); the spike score: Huang et al., 2025
(https://arxiv.org/abs/2501.06842).
"""

import math
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..math.dtypes import common_dtype

COLUMNS = (
    "grad_norm",
    "update_norm",
    "param_norm",
    "zero",
    "negligible",
    "nonfinite",
    "eps_dominated",
    "v_lag",
    "rms",
    "spike",
    "lost",
)
NORMS = 3  # the leading columns, which are kept as log2 in running means


def largest(dtype: Any) -> float:
    """Stands for what is not finite, in numbers of this type: a state has no NaN."""
    return 3e38 if jnp.finfo(dtype).bits == 32 else 1.7e308


def absent(dtype: Any) -> float:
    """Stands for what could not be measured, in numbers of this type."""
    return -largest(dtype)


EDGES = tuple(2.0**exponent for exponent in range(-44, 20, 4))
"""What |g| is compared with: the edges of the histogram's bins, each 4 powers of two wide."""

NEGLIGIBLE = 1e-3

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
    decay: Any, share: Any, floor: Any, weight_old: Any, weight_new: Any, maximum: Any, forgets: Any
) -> Float[Array, " numbers"]:
    """What is needed to read a second moment.

    Args:
        decay, share: of v_{t−1} and of g² in v_t.
        floor: ε.
        weight_old, weight_new: what `old` and `new` are divided by before they are v̂.
        maximum: whether it follows the largest of the squares.
        forgets: whether it can shrink.
    """
    numbers = decay, share, floor, weight_old, weight_new, maximum, forgets
    return jnp.stack([jnp.asarray(x, float) for x in numbers])


def layers_first(x: Array, axis: int | None) -> Array:
    """With the axis of stacked layers in front; one of length 1 where there is none."""
    return x[None] if axis is None else jnp.moveaxis(x, axis, 0)


def thinned(x: Array, limit: int) -> Array:
    """At most `limit` elements of each layer, evenly spaced along all axes but the first.

    The axis with most of them loses about every second one until there are few enough. Of the last
    axis a 16th counts: so many neighbours share a line of memory, and cost what one of them costs.
    """
    halvings, kept = [0] * x.ndim, list(x.shape)
    while math.prod(kept[1:]) > limit:
        several = [i for i in range(1, x.ndim) if kept[i] > 1]
        most = max(several, key=lambda i: kept[i] / (LINE if i == x.ndim - 1 else 1))
        halvings[most] += 1
        kept[most] = math.ceil(x.shape[most] / stride(halvings[most]))
    return jax.lax.slice(x, [0] * x.ndim, x.shape, [stride(n) for n in halvings])


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


def _wide(x: Array) -> Array:
    """The magnitude of complex numbers, float32 of narrower ones."""
    x = jnp.abs(x) if jnp.iscomplexobj(x) else x
    return x.astype(common_dtype(jnp.float32, x))


@partial(jax.jit, static_argnames="axis")
def row_norms(x: Array, last: Float[Array, " layers"], axis: int) -> Array:
    """The norm of each layer, with the power of two near the `last` one taken out of the squares.

    So norms at any scale are exact in one pass, unless they change by a factor of 1e18 at once:
    then they are 0 or infinite.
    """
    x, unit = layers_first(_wide(x).astype(last.dtype), axis), _power_of_two(last)
    squares = jnp.sum(_squares(x, unit), axis=tuple(range(1, x.ndim)))
    return jnp.sqrt(squares).astype(unit.dtype) / unit


def _squares(x: Array, unit: Float[Array, " layers"]) -> Array:
    scaled = x * unit.reshape((-1,) + (1,) * (x.ndim - 1)).astype(x.dtype)
    return scaled * scaled


def _power_of_two(norm: Float[Array, "*layers"]) -> Float[Array, "*layers"]:
    """One over the power of two below `norm`; 1 where that is 0, infinite or not known."""
    limits = jnp.finfo(norm.dtype)
    known = (norm > 0) & (norm < largest(norm.dtype))
    exponent = jnp.floor(jnp.log2(jnp.where(known, norm, 1)))
    most = limits.maxexp - 28
    kind = jnp.int32 if limits.bits == 32 else jnp.int64
    bits = (limits.maxexp - 1 - jnp.clip(exponent, -most, most).astype(kind)) << limits.nmant
    return jax.lax.bitcast_convert_type(bits, norm.dtype)


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


# Leaves of the same shape share a trace, as in `lift`.
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
        x = thinned(layers_first(x, axis), limit)
        return x.reshape(len(x), -1)

    def filled(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, length - x.shape[1])))

    g, u, p = of(grad), of(update), of(param)
    if moment is not None:
        means = [filled(of(x).astype(dtype)) for x in moment[:4]]
        rounding = 2 * float(jnp.finfo(moment.mean_new.dtype).eps)
        numbers = jnp.append(moment.numbers.astype(dtype), jnp.asarray(rounding, dtype))
        numbers = jnp.broadcast_to(numbers, (len(g), *numbers.shape))
        moment = SecondMoment(means[0], means[1], means[2], means[3], numbers)
    return Sample(
        *(filled(x.astype(dtype)) for x in map(jnp.abs, (g, u, p))),
        seen=jnp.full(len(g), g.shape[1], dtype),
        moment=moment,
    )


@partial(jax.jit, static_argnames=("precision", "axes"))
def measure(
    looked_at: Sample,
    norms: Float[Array, " rows"],
    last: Float[Array, "rows columns"],
    unscale: Float[Array, ""],
    sizes: Float[Array, " rows"],
    precision: tuple[int, int],
    axes: tuple[str, ...] = (),
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows edges"]]:
    """All columns of some rows, and the share of their gradients that is at or above each edge.

    Args:
        looked_at: the elements; without a moment the columns that need it are absent.
        norms: of whole gradients, as they came.
        last: what was measured before, from which the scale of norms is taken.
        unscale: by which gradients are multiplied, 1 over a loss scale.
        sizes: how many elements a row stands for.
        precision: the bits of the parameters' exponents, and of their mantissas.
        axes: mapped axes over which these rows are split.
    """
    raw, u, p, seen, moment = looked_at
    lost = _is_lost(u, p, precision)
    dtype = last.dtype
    rms = (norms / jnp.sqrt(sizes))[:, None].astype(dtype)
    units = _power_of_two(last[:, 1:3].T)

    spike = unknown = jnp.full_like(seen, absent(dtype))
    counts: dict[Any, Array] = {
        "zero": raw == 0,
        "negligible": (raw > 0) & (raw < NEGLIGIBLE * rms),
        "nonfinite": ~jnp.isfinite(raw),
    }
    sums = {
        "update": _squares(u, units[0]),
        "param": _squares(p, units[1]),
        "all_grad": raw,
        "all_update": u,
        "all_param": p,
        "lost": lost.astype(dtype),
    }
    x = raw * unscale
    if moment is not None:
        flags, terms, score = _beside_moment(moment, raw, x)
        spike = _across(jax.lax.pmax, jnp.max(score, axis=1), axes)
        counts |= flags
        sums |= terms

    halves = np.array(EDGES, dtype).reshape(2, 1, -1, 1)
    above = jnp.concatenate(_summed([x[:, None] >= edges for edges in halves]), axis=1)
    above, counted, found, seen = _across(
        jax.lax.psum,
        (
            above.astype(dtype),
            dict(zip(counts, _counted(list(counts.values()), dtype), strict=True)),
            {name: _sum(x) for name, x in sums.items()},
            seen,
        ),
        axes,
    )
    padded = raw.shape[1] * _across(jax.lax.psum, 1, axes) - seen
    known = jnp.maximum(seen, 1)

    squares = jnp.stack([found["update"], found["param"]]) * (sizes / known)[None]
    magnitudes = jnp.stack([found[f"all_{name}"] for name in ("grad", "update", "param")])
    least = magnitudes / known[None] * jnp.sqrt(sizes)[None]
    # Of all elements, so that what is infinite stays so, whatever the sample has.
    grad = jnp.where(norms == 0, least[0], norms)
    whole = jnp.concatenate([grad[None], _or_least(jnp.sqrt(squares) / units, least[1:])])
    zeros = counted["zero"] - padded
    shares = jnp.stack([zeros, counted["negligible"], counted["nonfinite"]]) / known[None]
    beside = [unknown] * 4
    if moment is not None:
        beside = [
            counted["eps"] / jnp.maximum(counted["moving"], 1),
            found["lag"] / jnp.maximum(counted["both"], 1),
            jnp.sqrt(found["rms"] / known),
            spike,
        ]
    unscaled = jnp.stack([unscale, jnp.ones_like(unscale), jnp.ones_like(unscale)])[:, None]
    rows = [
        whole * unscaled,
        shares,
        jnp.stack(beside),
        (found["lost"] / known)[None],
    ]
    # In a few matrices, since XLA would make a program of its own of every single row.
    table = jnp.concatenate([x.astype(dtype) for x in rows]).T
    return table, above / known[:, None]


def _across(reduced: Any, x: Any, axes: tuple[str, ...]) -> Any:
    return reduced(x, axes) if axes else x


def no_rows(dtype: Any) -> tuple[Float[Array, "0 columns"], Float[Array, "0 edges"]]:
    return jnp.zeros((0, len(COLUMNS)), dtype), jnp.zeros((0, len(EDGES)), dtype)


def _is_lost(update: Array, param: Array, precision: tuple[int, int]) -> Array:
    """Whether an update that is not 0 leaves a parameter of this precision as it is.

    As if it made it larger, which differs only at powers of two. Rounded by `reduce_precision`,
    since XLA leaves out a conversion to half precision and back.
    """
    total, limits = param + update, jnp.finfo(param.dtype)
    if precision != (limits.nexp, limits.nmant):
        total = jax.lax.reduce_precision(total, *precision)
    return (total == param) & (update > 0)


def _beside_moment(
    moment: SecondMoment, raw: Array, came: Array
) -> tuple[dict[Any, Array], dict[str, Array], Array]:
    """Flags to count and terms to sum of gradients beside the second moment; SPAM's score.

    `came` are the gradients as they came, without a loss scale.
    """
    limits = jnp.finfo(raw.dtype)
    before, after = moment.mean_old, moment.mean_new
    columns = jnp.moveaxis(moment.numbers, 1, 0)[:, :, None]
    decay, share, floor, weight_old, weight_new, maximum, _, rounding = columns
    old, new = moment.old / weight_old, moment.new / weight_new
    fallen = decay * before
    g2 = jnp.maximum((after - fallen) / share, rounding * after / share)
    g2 = jnp.where(maximum > 0, jnp.where(after > fallen, after, jnp.minimum(came**2, after)), g2)
    g2 = jnp.where(raw == 0, 0, g2)
    both = (g2 > 0) & (new > 0)
    flags = {
        "moving": (new > 0) & (raw > 0),
        "both": both,
        "eps": (new > 0) & (raw > 0) & (new < floor**2),
    }
    lag = jnp.log(jnp.where(both, g2, 1) / jnp.where(both, new, 1))
    least = jnp.maximum(jnp.maximum(new, floor**2), float(limits.tiny))
    score = jnp.where(old > 0, g2 / jnp.where(old > 0, old, 1), 0)
    return flags, {"lag": lag, "rms": g2 / least}, score


def _sum(x: Array) -> Float[Array, " rows"]:
    """The sum of each row, as a product: a reduction is one more thing that every call pays for."""
    return jnp.matmul(x, jnp.ones(x.shape[1], x.dtype), precision=jax.lax.Precision.HIGHEST)


def _counted(flags: list[Array], dtype: Any) -> Float[Array, "flags rows"]:
    """How many of each of the flags are set in each row of fewer than 2¹⁶ elements.

    Two of them are counted in one number.
    """
    low, high = flags[::2], [*flags[1::2], jnp.zeros_like(flags[0])]
    pairs = [
        a.astype(jnp.uint32) | b.astype(jnp.uint32) << 16 for a, b in zip(low, high, strict=False)
    ]
    totals = _summed(pairs)
    both = jnp.stack([totals & 0xFFFF, totals >> 16], axis=1).reshape(-1, totals.shape[1])
    return both[: len(flags)].astype(dtype)


def _summed(columns: list[Array]) -> Array:
    """The sums of some integers along the last axis, in one loop over the elements.

    Few of them: each call of the compiled step pays for every array that goes in.
    """
    columns = [x.astype(jnp.uint32) for x in columns]

    def combine(a, b):
        return tuple(x + y for x, y in zip(a, b, strict=True))

    zeros = [jnp.uint32(0)] * len(columns)
    return jnp.stack(jax.lax.reduce(columns, zeros, combine, (columns[0].ndim - 1,)))


def _or_least(norms: Array, least: Array) -> Array:
    """The norms, or what they are at least where their squares have left the range of floats.

    From the mean magnitude, which is near enough for the next measurement to find the scale.
    """
    return jnp.where((norms == 0) | jnp.isposinf(norms), least, norms)


def tidy(x: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Without NaN and infinities, for which `largest` stands."""
    most = largest(x.dtype)
    return jnp.where(jnp.isfinite(x), jnp.clip(x, -most, most), most)
