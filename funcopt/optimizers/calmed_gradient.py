"""What Stable-SPAM does to the gradient of a leaf before Adam sees it.

    M ← γ3 M + (1 − γ3) max|g|          g_i ← g_i M̂ / max|g|  where |g_i| > M̂      (AdaClip)
    N ← γ1 N + (1 − γ1) ‖g‖             g ← g / ‖g‖ · N̂ / (√R̂ + eps)                (AdaGN)
    R ← γ2 R + (1 − γ2) ‖g‖²

Hats correct the bias. √R is kept, whose square may be too large for a float, and what is not finite
enters none of the three.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ..clips.clip_report import ClipReport
from ..core.report import Counted
from ..core.rule import Accumulator, Clock, Exact, Signed
from ..math.counts import counted
from ..math.moments import bias_correction, ema
from ..math.norm import norm_below, rms_ema
from ..math.safe import safe_divide
from ..math.varying import AxisNames, max_across, norm_across, parts, sum_across


class StableSpamSlots(NamedTuple):
    """Adam's moments, and of the leaf M, N and √R, and how many gradients are in them."""

    mu: Signed
    nu: Accumulator
    entered: Exact
    max_mean: Exact
    norm_mean: Exact
    norm_rms: Exact


def calmed(
    g: Inexact[Array, "*p"],
    slots: StableSpamSlots,
    clock: Clock,
    gammas: tuple[ArrayLike, ArrayLike, ArrayLike],
    eps: ArrayLike,
    axis: AxisNames,
) -> tuple[Inexact[Array, "*p"], StableSpamSlots, ClipReport]:
    """A gradient after AdaClip and AdaGN, with the slots of its leaf, and the report of AdaClip."""
    real, (gamma1, gamma2, gamma3) = slots.nu.dtype, gammas
    size = jnp.abs(g)
    largest = max_across(jnp.max(size, initial=0), axis)
    finite = jnp.isfinite(largest)
    entered = counted(slots.entered, finite)
    n = jnp.maximum(entered, 1)

    def averaged(old: Array, new: Array) -> Array:
        return jnp.where(finite, new, old)

    known = jnp.where(finite, largest, 0)
    max_mean = averaged(slots.max_mean, ema(slots.max_mean, known, gamma3))
    bound = max_mean / bias_correction(gamma3, n, real)
    spike = (size > bound) & finite
    ratio = jnp.where(largest > bound, bound / jnp.where(largest > bound, largest, 1), 1)
    short = jnp.where(spike, g * ratio, g)

    length = norm_across(norm_below(short, jnp.minimum(largest, bound)), axis)
    known = jnp.where(finite, length, 0)
    norm_mean = averaged(slots.norm_mean, ema(slots.norm_mean, known, gamma1))
    norm_rms = averaged(slots.norm_rms, rms_ema(slots.norm_rms, known, gamma2))
    mean = norm_mean / bias_correction(gamma1, n, real)
    rms = norm_rms / jnp.sqrt(bias_correction(gamma2, n, real))
    calm = safe_divide(short, length) * safe_divide(mean, rms + eps)
    spikes = Counted(sum_across(jnp.sum(spike, dtype=real), axis), g.size * parts(g, axis))
    whole = norm_across(norm_below(g, largest), axis)
    slots = clock.renew(
        slots, entered=entered, max_mean=max_mean, norm_mean=norm_mean, norm_rms=norm_rms
    )
    # What is not finite stays so, for all to see.
    calm = jnp.where(finite, calm, g)
    return calm, slots, ClipReport(whole, jnp.where(finite, ratio, 1), spikes)
