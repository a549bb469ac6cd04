"""A running baseline of a positive number, in its logarithm, that outliers cannot drag along.

    y = ln x,   z = (y − mean) / max(σ, 0.05)
    r = min(max(y − mean, −3σ), 3σ)                         winsorised
    mean ← mean + a r,   σ² ← σ² + a' (r² − σ²)             a → 1 − decay

The first number is the first mean, with a σ of 1 that counts as much as `PRIOR_WEIGHT` numbers: the
second one is judged already, by whether it is more than exp(threshold) times the first. The
logarithm makes it the same at every scale, and lets it follow a norm that decays. While a and a'
are still large, outliers enter with their last value, 1 − decay: two at the start would otherwise
make a third one look usual.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from ..core.arguments import Numeric
from ..math.choice import where
from ..math.counts import counted
from ..math.dtypes import cast

PRIOR_WEIGHT = 20
LEAST_SIGMA = 0.05
WINSORISED_AT = 3.0


class Baseline(NamedTuple):
    """The running mean and variance of the logarithm of a norm.

    `seen` numbers are in it; the last `streak` judged were outliers.
    """

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    seen: Int[Array, ""]
    streak: Int[Array, ""]


class SpikeLimits(NamedTuple):
    """What is a spike: above `threshold` standard deviations, at most `patience` times in a row.

    `decay` is that of the baseline.
    """

    threshold: Numeric = 6.0
    patience: Numeric = 8
    decay: Numeric = 0.99


USUAL_LIMITS = SpikeLimits()


@runtime_checkable
class Judges(Protocol):
    """A transformation that judges the norm of gradients; its state has the `baseline`."""

    def limits(self) -> SpikeLimits | None:
        """By what it judges; None where that is no norm of what is on one device."""
        ...


class Judgement(NamedTuple):
    """`z` is 0 where there is nothing to judge."""

    z: Float[Array, ""]
    outlier: Bool[Array, ""]
    rebased: Bool[Array, ""]
    baseline: Baseline


def no_baseline(dtype: DTypeLike = jnp.float32) -> Baseline:
    zero, none = jnp.zeros([], dtype), jnp.zeros([], jnp.int32)
    return Baseline(zero, jnp.ones([], dtype), none, jnp.zeros_like(none))


def judge(old: Baseline, x: Float[Array, ""], limits: SpikeLimits = USUAL_LIMITS) -> Judgement:
    """Whether `x` is an outlier, and the baseline with it.

    What is not finite, or 0, says nothing and changes nothing. After `limits.patience` outliers in
    a row the next is no outlier but a new level: the baseline starts again from it.
    """
    news = jnp.isfinite(x) & (x > 0)
    real = old.mean.dtype
    y = jnp.log(where(news, x, 1)).astype(real)
    sigma = jnp.maximum(jnp.sqrt(old.variance), LEAST_SIGMA)
    residual = where(old.seen > 0, y - old.mean, 0)
    z = where(news, residual / sigma, 0)
    above = z > cast(limits.threshold, real)
    rebased = above & (old.streak >= limits.patience)
    outlier = above & ~rebased

    near = jnp.clip(residual, -WINSORISED_AT * sigma, WINSORISED_AT * sigma)
    number = old.seen.astype(real)
    young = where(above, 0, 1 / (number + 1))
    young_of_square = where(above, 0, 1 / (number + PRIOR_WEIGHT))
    last = cast(1 - limits.decay, real)
    weight = jnp.maximum(last, young)
    weight_of_square = jnp.maximum(last, young_of_square)
    first = rebased | (old.seen == 0)
    new = Baseline(
        mean=where(first, y, old.mean + weight * near),
        variance=where(first, 1, old.variance + weight_of_square * (near**2 - old.variance)),
        seen=where(first, 1, counted(old.seen, jnp.ones([], bool))),
        streak=where(outlier, counted(old.streak, outlier), 0),
    )
    kept = Baseline(*(where(news, a, b).astype(b.dtype) for a, b in zip(new, old, strict=True)))
    return Judgement(z, outlier, rebased, kept)
