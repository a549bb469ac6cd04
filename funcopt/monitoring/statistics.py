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
    not known one by one                            where v is in codes further apart than what a
                                                    usual g² adds: `v_lag` and `spike` are absent,
                                                    and `rms`, of many, is about right
    g² = v_t − v_{t−1}                              of a sum (AdaGrad), whose v̂ is the mean v_t / t
    g² = v_t where v_t > β v_{t−1}                  of a maximum (Adamax); else it is not known, and
                                                    the gradient as it came stands for it

Everything is as wide as the table that is asked for: float32, or float64.

RMS_t: Wortsman et al., 2023 (https://arxiv.org/abs/2304.13013); the spike score: Huang et al., 2025
(https://arxiv.org/abs/2501.06842).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..math.choice import where
from ..math.dtypes import common_dtype
from ..math.one_loop import in_one_loop
from .columns import COLUMNS, EDGES, NEGLIGIBLE, absent, largest
from .sample import Sample, SecondMoment, layers_first


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
    exponent = jnp.floor(jnp.log2(where(known, norm, 1)))
    most = limits.maxexp - 28
    integer = jnp.int32 if limits.bits == 32 else jnp.int64
    bits = (limits.maxexp - 1 - jnp.clip(exponent, -most, most).astype(integer)) << limits.nmant
    return jax.lax.bitcast_convert_type(bits, norm.dtype)


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
    flags = {
        "zero": raw == 0,
        "negligible": (raw > 0) & (raw < NEGLIGIBLE * rms),
        "nonfinite": ~jnp.isfinite(raw),
        "lost": lost,
    }
    terms = {
        "update": _squares(u, units[0]),
        "param": _squares(p, units[1]),
        "all_grad": raw,
        "all_update": u,
        "all_param": p,
    }
    x = raw * unscale
    score = None
    if moment is not None:
        of_moment, more, score = _beside_moment(moment, raw, x)
        flags |= of_moment
        terms |= more

    sums, highest = _over_elements(terms, flags, score)
    halves = np.array(EDGES, dtype).reshape(2, 1, -1, 1)
    at_or_above = [(x[:, None] >= edges).astype(jnp.uint32) for edges in halves]
    above = jnp.concatenate(in_one_loop(at_or_above, [jax.lax.add] * 2), axis=1)
    if highest is not None:
        spike = _across(jax.lax.pmax, highest, axes)
    above, found, seen = _across(jax.lax.psum, (above.astype(dtype), sums, seen), axes)
    padded = raw.shape[1] * _across(jax.lax.psum, 1, axes) - seen
    known = jnp.maximum(seen, 1)

    squares = jnp.stack([found["update"], found["param"]]) * (sizes / known)[None]
    magnitudes = jnp.stack([found[f"all_{name}"] for name in ("grad", "update", "param")])
    least = magnitudes / known[None] * jnp.sqrt(sizes)[None]
    # Of all elements, so that what is infinite stays so, whatever the sample has.
    grad = where(norms == 0, least[0], norms)
    whole = jnp.concatenate([grad[None], _or_least(jnp.sqrt(squares) / units, least[1:])])
    zeros = found["zero"] - padded
    shares = jnp.stack([zeros, found["negligible"], found["nonfinite"]]) / known[None]
    beside = [unknown] * 4
    if moment is not None:
        # Codes further apart than a usual gradient moves v tell of no gradient by itself.
        numbers = moment.numbers
        told = numbers[:, 6] * numbers[:, 4] < numbers[:, 1]
        beside = [
            found["eps"] / jnp.maximum(found["moving"], 1),
            where(told, found["lag"] / jnp.maximum(found["both"], 1), unknown),
            jnp.sqrt(found["rms"] / known),
            where(told, spike, unknown),
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
    decay, share, floor, weight_old, weight_new, maximum, _, _, rounding = columns
    old, new = moment.old / weight_old, moment.new / weight_new
    fallen = decay * before
    g2 = jnp.maximum((after - fallen) / share, rounding * after / share)
    g2 = where(maximum > 0, where(after > fallen, after, jnp.minimum(came**2, after)), g2)
    g2 = where(raw == 0, 0, g2)
    both = (g2 > 0) & (new > 0)
    flags = {
        "moving": (new > 0) & (raw > 0),
        "both": both,
        "eps": (new > 0) & (raw > 0) & (new < floor**2),
    }
    lag = jnp.log(where(both, g2, 1) / where(both, new, 1))
    least = jnp.maximum(jnp.maximum(new, floor**2), float(limits.tiny))
    score = where(old > 0, g2 / where(old > 0, old, 1), 0)
    return flags, {"lag": lag, "rms": g2 / least}, score


def _over_elements(
    terms: dict[str, Array], flags: dict[str, Array], score: Array | None
) -> tuple[dict[str, Array], Array | None]:
    """The sums of terms, how many flags are set, and the largest score, of each row.

    Flags of two kinds are counted in one number, fewer than 2¹⁶ of each, because each call of the
    compiled step pays for every array that goes into a loop.
    """
    dtype = next(iter(terms.values())).dtype
    bits = [x.astype(jnp.uint32) for x in flags.values()]
    low, high = bits[::2], [*bits[1::2], jnp.zeros_like(bits[0])]
    pairs = [a | b << 16 for a, b in zip(low, high, strict=False)]
    sums, scores = [*terms.values(), *pairs], [] if score is None else [score]
    ways = [jax.lax.add] * len(sums) + [jax.lax.max] * len(scores)
    reduced = in_one_loop([*sums, *scores], ways)
    counts = [
        x.astype(dtype) for n in reduced[len(terms) : len(sums)] for x in (n & 0xFFFF, n >> 16)
    ]
    found = dict(zip([*terms, *flags], [*reduced[: len(terms)], *counts], strict=False))
    return found, None if score is None else reduced[-1]


def _or_least(norms: Array, least: Array) -> Array:
    """The norms, or what they are at least where their squares have left the range of floats.

    From the mean magnitude, which is near enough for the next measurement to find the scale.
    """
    return where((norms == 0) | jnp.isposinf(norms), least, norms)
