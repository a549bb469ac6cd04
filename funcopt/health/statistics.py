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
    lost            mean (round(p + u) = p, u ≠ 0) half-precision parameters

Means are over all n elements of a leaf of at most `limit`, over evenly spaced ones of a larger
leaf. v̂ is the second moment that the optimizer divides by, ε what it adds to the root of it. A
stacked leaf gives one row for each layer.

In the columns that have v̂, g is the gradient as the optimizer saw it: behind clips, weight decay
or accumulation. It is what has changed the running mean of squares v, with decay β:

    g² = (v_t − β v_{t−1}) / (1 − β)                at least 2⁻²² v_t / (1 − β), below which it
                                                    is rounding

RMS_t: Wortsman et al., 2023 (https://arxiv.org/abs/2304.13013); the spike score: Huang et al., 2025
(https://arxiv.org/abs/2501.06842).
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float16

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

LARGEST = 3e38
"""Stands for what is not finite: a state has no NaN."""
ABSENT = -3e38
"""Stands for what could not be measured."""

EDGES = tuple(2.0**exponent for exponent in range(-44, 20, 4))
"""What |g| is compared with: the edges of the histogram's bins, each 4 powers of two wide."""

NEGLIGIBLE = 1e-3

LINE = 16
"""Numbers in a line of memory."""


class Moment(NamedTuple):
    """A second moment before and after the step, and what is needed to read it.

    `mean_old` and `mean_new` are the running mean of squares, `old` and `new` what is divided by,
    which is the same but for AMSGrad; `weight_old` and `weight_new` are their total weights, 1
    where they are not divided by it. `floor` is ε.
    """

    mean_old: Array
    mean_new: Array
    old: Array
    new: Array
    decay: Array
    floor: Array
    weight_old: Array
    weight_new: Array


def layers_first(x: Array, axis: int | None) -> Array:
    """With the axis of stacked layers in front; one of length 1 where there is none."""
    return x[None] if axis is None else jnp.moveaxis(x, axis, 0)


def thinned(x: Array, limit: int) -> Array:
    """At most `limit` elements of each layer, evenly spaced along all axes but the first.

    The axis with most of them loses every second one until there are few enough. Of the last axis
    a 16th counts: so many neighbours share a line of memory, and cost what one of them costs.
    """
    strides, kept = [1] * x.ndim, list(x.shape)
    while math.prod(kept[1:]) > limit:
        several = [i for i in range(1, x.ndim) if kept[i] > 1]
        most = max(several, key=lambda i: kept[i] / (LINE if i == x.ndim - 1 else 1))
        strides[most] *= 2
        kept[most] = math.ceil(x.shape[most] / strides[most])
    return jax.lax.slice(x, [0] * x.ndim, x.shape, strides)


def _wide(x: Array) -> Array:
    """The magnitude of complex numbers, float32 of narrower ones."""
    x = jnp.abs(x) if jnp.iscomplexobj(x) else x
    return x.astype(common_dtype(jnp.float32, x))


@partial(jax.jit, static_argnums=2)
def row_norms(x: Array, last: Float[Array, " layers"], axis: int) -> Array:
    """The norm of each layer, with the power of two near the `last` one taken out of the squares.

    So norms at any scale are exact in one pass, unless they change by a factor of 1e18 at once:
    then they are 0 or infinite.
    """
    x, unit = layers_first(_wide(x), axis), _power_of_two(last)
    squares = jnp.sum(_squares(x, unit), axis=tuple(range(1, x.ndim)))
    return jnp.sqrt(squares).astype(unit.dtype) / unit


def _squares(x: Array, unit: Float[Array, " layers"]) -> Array:
    scaled = x * unit.reshape((-1,) + (1,) * (x.ndim - 1)).astype(x.dtype)
    return scaled * scaled


def _power_of_two(norm: Float[Array, "*layers"]) -> Float[Array, "*layers"]:
    """One over the power of two below `norm`; 1 where that is 0, infinite or not known."""
    known = (norm > 0) & (norm < LARGEST)
    exponent = jnp.floor(jnp.log2(jnp.where(known, norm, 1)))
    bits = (127 - jnp.clip(exponent, -100, 100).astype(jnp.int32)) << 23
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


class Sample(NamedTuple):
    """Evenly spaced elements of each row, of which so many were `seen`; behind them are zeros.

    Magnitudes of gradients, updates and parameters; the second moment if there is one, whose
    numbers are one for each row; and of half-precision parameters whether the update is lost.
    """

    grad: Float[Array, "rows length"]
    update: Float[Array, "rows length"]
    param: Float[Array, "rows length"]
    seen: Float[Array, " rows"]
    moment: Moment | None
    lost: Bool[Array, "rows length"] | None


def sample(
    grad: Array,
    update: Array,
    param: Array,
    moment: Moment | None,
    axis: int | None,
    limit: int,
    length: int,
) -> Sample:
    """At most `limit` elements of each layer of a leaf, in rows of `length`."""

    def of(x: Array) -> Array:
        x = thinned(layers_first(x, axis), limit)
        return x.reshape(len(x), -1)

    def filled(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, length - x.shape[1])))

    g, u, p = of(grad), of(update), of(param)
    magnitudes = [jnp.abs(x) for x in (g, u, p)]
    wide = common_dtype(jnp.float32, *magnitudes)
    half = jnp.issubdtype(p.dtype, jnp.floating) and jnp.finfo(p.dtype).bits < 32
    if moment is not None:
        means = [filled(of(x).astype(jnp.float32)) for x in moment[:4]]
        moment = Moment(*means, *(jnp.full(len(g), x) for x in moment[4:]))
    return Sample(
        *(filled(x.astype(wide)) for x in magnitudes),
        seen=jnp.full(len(g), g.shape[1], jnp.float32),
        moment=moment,
        lost=filled(_is_lost(u, p)) if half else None,
    )


@jax.jit
def measure(
    looked_at: Sample,
    norms: Float[Array, " rows"],
    last: Float[Array, "rows columns"],
    unscale: Float[Array, ""],
    sizes: Float[Array, " rows"],
) -> tuple[Float[Array, "rows columns"], Float16[Array, "rows edges"]]:
    """All columns of some rows, and the share of their gradients that is at or above each edge.

    Args:
        looked_at: the elements; without a moment the columns that need it are absent.
        norms: of whole gradients, as they came.
        last: what was measured before, from which the scale of norms is taken.
        unscale: by which gradients are multiplied, 1 over a loss scale.
        sizes: how many elements a row stands for.
    """
    raw, u, p, seen, moment, lost = looked_at
    rms = (norms / jnp.sqrt(sizes))[:, None].astype(raw.dtype)
    units = _power_of_two(last[:, 1:3].T)

    spike = absent = jnp.full_like(seen, ABSENT)
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
    }
    if lost is not None:
        counts["lost"] = lost
    if moment is not None:
        flags, terms, score = _beside_moment(moment, raw)
        spike = jnp.max(score.astype(jnp.float32), axis=1)
        counts |= flags
        sums |= terms

    x = raw.astype(jnp.float32) * unscale
    halves = np.array(EDGES, np.float32).reshape(2, 1, -1, 1)
    above = jnp.concatenate(_summed([x[:, None] >= edges for edges in halves]), axis=1)
    counted = dict(zip(counts, _counted(list(counts.values())), strict=True))
    found = {name: _sum(x) for name, x in sums.items()}
    known = jnp.maximum(seen, 1)

    squares = jnp.stack([found["update"], found["param"]]) * (sizes / known)[None]
    magnitudes = jnp.stack([found[f"all_{name}"] for name in ("grad", "update", "param")])
    least = magnitudes / known[None] * jnp.sqrt(sizes)[None]
    # Of all elements, so that what is infinite stays so, whatever the sample has.
    grad = jnp.where(norms == 0, least[0], norms)
    whole = jnp.concatenate([grad[None], _or_least(jnp.sqrt(squares) / units, least[1:])])
    zeros = counted["zero"] - (raw.shape[1] - seen)
    shares = jnp.stack([zeros, counted["negligible"], counted["nonfinite"]]) / known[None]
    beside = [absent] * 4
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
        (absent if lost is None else counted["lost"] / known)[None],
    ]
    # In a few matrices, since XLA would make a program of its own of every single row.
    table = jnp.concatenate([x.astype(jnp.float32) for x in rows]).T
    return table, (above.astype(jnp.float32) / known[:, None]).astype(jnp.float16)


def no_rows() -> tuple[Float[Array, "0 columns"], Float16[Array, "0 edges"]]:
    return jnp.zeros((0, len(COLUMNS)), jnp.float32), jnp.zeros((0, len(EDGES)), jnp.float16)


def _is_lost(update: Array, param: Array) -> Array:
    """Whether an update that is not 0 leaves a half-precision parameter as it is.

    Rounded by `reduce_precision`, since XLA leaves out a conversion to half precision and back.
    """
    limits = jnp.finfo(param.dtype)
    p, u = param.astype(jnp.float32), update.astype(jnp.float32)
    rounded = jax.lax.reduce_precision(p + u, limits.nexp, limits.nmant)
    return (rounded == p) & (u != 0)


def _beside_moment(moment: Moment, raw: Array) -> tuple[dict[Any, Array], dict[str, Array], Array]:
    """Flags to count and terms to sum of gradients beside the second moment; SPAM's score."""
    limits = jnp.finfo(jnp.float32)
    before, after = moment.mean_old, moment.mean_new
    decay, floor, weight_old, weight_new = (x[:, None] for x in moment[4:])
    old, new = moment.old / weight_old, moment.new / weight_new
    share = 1 - decay
    rounding = 2 * float(limits.eps) * after / share
    g2 = jnp.maximum((after - decay * before) / share, rounding)
    g2 = jnp.where(raw == 0, 0, g2)
    both = (g2 > 0) & (new > 0)
    flags = {
        "moving": (new > 0) & (raw > 0),
        "both": both,
        "eps": (new > 0) & (raw > 0) & (new < floor**2),
    }
    lag = jnp.log(jnp.where(both, g2, 1) / jnp.where(both, new, 1))
    least = jnp.maximum(jnp.maximum(new, floor**2), float(limits.tiny))
    largest = jnp.where(old > 0, g2 / jnp.where(old > 0, old, 1), 0)
    return flags, {"lag": lag, "rms": g2 / least}, largest


def _sum(x: Array) -> Float[Array, " rows"]:
    """The sum of each row, as a product: a reduction is one more thing that every call pays for."""
    x = x.astype(jnp.float32)
    return jnp.matmul(x, jnp.ones(x.shape[1], jnp.float32), precision=jax.lax.Precision.HIGHEST)


def _counted(flags: list[Array]) -> Float[Array, "flags rows"]:
    """How many of each of the flags are set in each row of fewer than 2¹⁶ elements.

    Two of them are counted in one number.
    """
    low, high = flags[::2], [*flags[1::2], jnp.zeros_like(flags[0])]
    pairs = [
        a.astype(jnp.uint32) | b.astype(jnp.uint32) << 16 for a, b in zip(low, high, strict=False)
    ]
    totals = _summed(pairs)
    both = jnp.stack([totals & 0xFFFF, totals >> 16], axis=1).reshape(-1, totals.shape[1])
    return both[: len(flags)].astype(jnp.float32)


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
    """Without NaN and infinities, for which `LARGEST` stands."""
    return jnp.where(jnp.isfinite(x), jnp.clip(x, ABSENT, LARGEST), LARGEST)
