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

Means are over all n elements of a leaf of at most `limit`, over evenly spaced rows of a larger
one. v̂ is the second moment that the optimizer divides by, ε what it adds to the root of it. A
stacked leaf gives one row for each layer.

In the columns that have v̂, g is the gradient as the optimizer saw it: behind clips, weight decay
or accumulation. It is what has changed the running mean of squares v, with decay β:

    g² = (v_t − β v_{t−1}) / (1 − β)                at least 2⁻²² v_t / (1 − β), below which it
                                                    is rounding

RMS_t: Wortsman et al., 2023 (https://arxiv.org/abs/2304.13013); the spike score: Huang et al., 2025
(https://arxiv.org/abs/2501.06842).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float16

from ..math.dtypes import common_dtype
from ..math.moments import seen

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


class Moment(NamedTuple):
    """A second moment before and after the step, and what is needed to read it.

    `mean_old` and `mean_new` are the running mean of squares, `old` and `new` what is divided by,
    which is the same but for AMSGrad. `decay` and the count `t` of updates tell its total weight,
    `floor` is ε.
    """

    mean_old: Array
    mean_new: Array
    old: Array
    new: Array
    decay: Array
    floor: Array
    t: Array


def layers_first(x: Array, axis: int | None) -> Array:
    """With the axis of stacked layers in front; one of length 1 where there is none."""
    return x[None] if axis is None else jnp.moveaxis(x, axis, 0)


def thinned(x: Array, limit: int) -> Array:
    """Every k-th slice along the longest axis after the first, at most about `limit` a layer."""
    size = x[:1].size
    if size <= limit:
        return x
    longest = max(range(1, x.ndim), key=lambda i: x.shape[i])
    return jax.lax.slice_in_dim(x, 0, None, -(-size // limit), longest)


def _wide(x: Array) -> Array:
    """The magnitude of complex numbers, float32 of narrower ones."""
    x = jnp.abs(x) if jnp.iscomplexobj(x) else x
    return x.astype(common_dtype(jnp.float32, x))


@partial(jax.jit, static_argnums=2)
def row_norms(x: Array, last: Float[Array, " layers"], axis: int | None) -> Array:
    """The norm of each layer, with the power of two near the `last` one taken out of the squares.

    So norms at any scale are exact in one pass, unless they change by a factor of 1e18 at once:
    then they are 0 or infinite, see `_or_largest`.
    """
    x, unit = layers_first(_wide(x), axis), _power_of_two(last)
    squares = jnp.sum(_squares(x, unit), axis=tuple(range(1, x.ndim)))
    return jnp.sqrt(squares).astype(unit.dtype) / unit


def _squares(x: Array, unit: Float[Array, " layers"]) -> Array:
    scaled = x * unit.reshape((-1,) + (1,) * (x.ndim - 1)).astype(x.dtype)
    return scaled * scaled


def _power_of_two(norm: Float[Array, " layers"]) -> Float[Array, " layers"]:
    """One over the power of two below `norm`; 1 where that is 0, infinite or not known."""
    known = (norm > 0) & (norm < LARGEST)
    exponent = jnp.floor(jnp.log2(jnp.where(known, norm, 1)))
    bits = (127 - jnp.clip(exponent, -100, 100).astype(jnp.int32)) << 23
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


@partial(jax.jit, static_argnums=1)
def diagnose(x: Array, axis: int | None) -> tuple[Array, Array]:
    """For each layer, how many elements are not finite, and the largest that is.

    One loop, which runs on the rare steps on which something is wrong.
    """
    x = jnp.abs(layers_first(_wide(x), axis)).astype(jnp.float32)
    rest = tuple(range(1, x.ndim))
    finite = jnp.isfinite(x)
    found = _reduced({"broken": ~finite}, {"largest": jnp.where(finite, x, 0)}, rest)
    return found["broken"], found["largest"]


class Sample(NamedTuple):
    """Evenly spaced elements of one leaf, layers first."""

    grad: Array
    update: Array
    param: Array
    moment: Moment | None


def sample(x: Any, axis: int | None, limit: int) -> Any:
    """Of each array in `x`, what is looked at; numbers stay what they are."""

    def of(x: Array) -> Array:
        return thinned(layers_first(x, axis), limit)

    if isinstance(x, Moment):
        mean_old, mean_new, old, new = map(of, x[:4])
        return Moment(mean_old, mean_new, old, new, x.decay, x.floor, x.t)
    return None if x is None else of(x)


@partial(jax.jit, static_argnames=("size", "corrected"))
def measure(
    leaf: Sample,
    norms: Float[Array, " layers"],
    last: Float[Array, "layers columns"],
    unscale: Float[Array, ""],
    *,
    size: int,
    corrected: bool = True,
) -> tuple[Float[Array, "layers columns"], Float16[Array, "layers edges"]]:
    """All columns of one leaf, and the share of its gradients that is at or above each edge.

    Args:
        leaf: what is looked at, of any floating or complex type; without a moment the columns that
            need it are absent.
        norms: of the whole gradients of the layers, as they came.
        last: what was measured before, from which the scale of norms is taken.
        unscale: by which gradients are multiplied, 1 over a loss scale.
        size: how many elements a layer has.
        corrected: whether the moment is divided by its total weight.
    """
    param, moment = leaf.param, leaf.moment
    rest = tuple(range(1, param.ndim))
    raw = jnp.abs(_wide(leaf.grad))
    count = max(raw[:1].size, 1)
    rms = (norms / size**0.5).reshape((-1,) + (1,) * len(rest)).astype(raw.dtype)
    u, p = _wide(leaf.update), _wide(param)
    units = [_power_of_two(last[:, i]) for i in (1, 2)]

    counts: dict[Any, Array] = {
        "zero": raw == 0,
        "negligible": (raw > 0) & (raw < NEGLIGIBLE * rms),
        "nonfinite": ~jnp.isfinite(raw),
    }
    sums = {"update": _squares(u, units[0]), "param": _squares(p, units[1])}
    maxima = {"grad": raw, "largest_update": u, "largest_param": p}
    half = jnp.issubdtype(param.dtype, jnp.floating) and jnp.finfo(param.dtype).bits < 32
    if half:
        counts["lost"] = _is_lost(leaf.update, param)
    if moment is not None:
        flags, terms, maxima["spike"] = _beside_moment(moment, raw, corrected)
        counts |= flags
        sums |= terms

    x = raw.astype(jnp.float32) * unscale
    counts |= {edge: x >= edge for edge in EDGES}
    counted = _counted(counts, rest)
    found = _reduced(sums, maxima, rest)

    def share(name: Any, of: Any = count) -> Array:
        return counted[name] / of

    def whole_norm(name: str, unit: Array) -> Array:
        return jnp.sqrt(found[name] / count * size) / unit

    rows = {
        "grad_norm": _or_largest(norms, found["grad"]) * unscale,
        "update_norm": _or_largest(whole_norm("update", units[0]), found["largest_update"]),
        "param_norm": _or_largest(whole_norm("param", units[1]), found["largest_param"]),
        "zero": share("zero"),
        "negligible": share("negligible"),
        "nonfinite": share("nonfinite"),
    }
    if half:
        rows["lost"] = share("lost")
    if moment is not None:
        rows |= {
            "eps_dominated": share("eps", jnp.maximum(counted["moving"], 1)),
            "v_lag": found["lag"] / jnp.maximum(counted["both"], 1),
            "rms": jnp.sqrt(found["rms"] / count),
            "spike": found["spike"],
        }
    absent = jnp.full_like(found["grad"], ABSENT)
    table = jnp.stack([rows.get(name, absent) for name in COLUMNS], axis=1)
    above = jnp.stack([share(edge) for edge in EDGES], axis=1)
    return table.astype(jnp.float32), above.astype(jnp.float16)


def _is_lost(update: Array, param: Array) -> Array:
    """Whether an update that is not 0 leaves a half-precision parameter as it is.

    Rounded by `reduce_precision`, since XLA leaves out a conversion to half precision and back.
    """
    limits = jnp.finfo(param.dtype)
    p, u = param.astype(jnp.float32), update.astype(jnp.float32)
    rounded = jax.lax.reduce_precision(p + u, limits.nexp, limits.nmant)
    return (rounded == p) & (u != 0)


def _beside_moment(
    moment: Moment, raw: Array, corrected: bool
) -> tuple[dict[Any, Array], dict[str, Array], Array]:
    """Flags to count and terms to sum of gradients beside the second moment; SPAM's score."""
    limits = jnp.finfo(jnp.float32)
    before, after, old, new = (x.astype(jnp.float32) for x in moment[:4])
    if corrected:
        old = old / jnp.where(moment.t > 1, seen(moment.decay, moment.t - 1, old.dtype), 1)
        new = new / seen(moment.decay, moment.t, new.dtype)
    share = 1 - moment.decay
    rounding = 2 * float(limits.eps) * after / share
    g2 = jnp.maximum((after - moment.decay * before) / share, rounding)
    g2 = jnp.where(raw == 0, 0, g2)
    both = (g2 > 0) & (new > 0)
    flags = {
        "moving": (new > 0) & (raw > 0),
        "both": both,
        "eps": (new > 0) & (raw > 0) & (new < moment.floor**2),
    }
    lag = jnp.log(jnp.where(both, g2, 1)) - jnp.log(jnp.where(both, new, 1))
    least = jnp.maximum(jnp.maximum(new, moment.floor**2), float(limits.tiny))
    largest = jnp.where(old > 0, g2 / jnp.where(old > 0, old, 1), 0)
    return flags, {"lag": lag, "rms": g2 / least}, largest


def _counted(flags: dict[Any, Array], rest: tuple[int, ...]) -> dict[Any, Array]:
    """How many of each of the flags are set, in one loop over the elements."""
    columns = [x.astype(jnp.int32) for x in flags.values()]

    def combine(a, b):
        return tuple(x + y for x, y in zip(a, b, strict=True))

    zeros = [jnp.zeros([], jnp.int32) for _ in columns]
    counts = jax.lax.reduce(columns, zeros, combine, rest) if rest else columns
    return {name: x.astype(jnp.float32) for name, x in zip(flags, counts, strict=True)}


def _reduced(
    adds: dict[str, Array], maxima: dict[str, Array], rest: tuple[int, ...]
) -> dict[str, Array]:
    """The sums of all of `adds` and the maxima of the others, in one loop over the elements."""
    columns = [
        *(x.astype(jnp.float32) for x in adds.values()),
        *(jnp.abs(x).astype(jnp.float32) for x in maxima.values()),
    ]
    sums = len(adds)

    def combine(a, b):
        return (
            *(x + y for x, y in zip(a[:sums], b[:sums], strict=True)),
            *map(jnp.maximum, a[sums:], b[sums:]),
        )

    zeros = [jnp.zeros([], jnp.float32) for _ in columns]
    found = jax.lax.reduce(columns, zeros, combine, rest) if rest else columns
    return dict(zip((*adds, *maxima), found, strict=True))


def _or_largest(norms: Array, largest: Array) -> Array:
    """The norms, or the largest element where their squares have left the range of floats.

    It is below the norm, and near enough for the next measurement to find the scale.
    """
    return jnp.where((norms == 0) | jnp.isposinf(norms), largest, norms)


def tidy(x: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Without NaN and infinities, for which `LARGEST` stands."""
    return jnp.where(jnp.isfinite(x), jnp.clip(x, ABSENT, LARGEST), LARGEST)
