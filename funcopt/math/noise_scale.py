"""The gradient noise scale: the batch size beyond which averaging more gains little.

With m the mean of the squared norms of n gradients and |mean|² the squared norm of their mean,

    |G|² = (n |mean|² − m) / (n − 1)        the squared true gradient
    S = (m − |mean|²) / (1 − 1/n)           the trace of the gradients' covariance
    noise scale = running mean of S / running mean of |G|²

in units of the batches that the n gradients are of. McCandlish et al., 2018, appendix A.1
(https://arxiv.org/abs/1812.06162).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .choice import where
from .moments import ema

NOISE_DECAY = 0.9


class Noise(NamedTuple):
    """Running means of the trace of the gradients' covariance, and of the squared true gradient.

    Both start from zero, which their ratio does not see.
    """

    variance: Float[Array, ""]
    signal: Float[Array, ""]


def no_noise(dtype: Any = jnp.float32) -> Noise:
    return Noise(jnp.zeros([], dtype), jnp.zeros([], dtype))


def add_noise_terms(
    old: Noise,
    mean_of_squares: Float[Array, ""],
    square_of_mean: Float[Array, ""],
    n: Int[Array, ""],
    news: Bool[Array, ""],
) -> Noise:
    """The running means after one more step, if there is `news` and `n` is more than 1."""
    several = news & (n > 1)
    real = old.variance.dtype
    n_, others = n.astype(real), where(several, n.astype(real) - 1, 1)
    m, big = mean_of_squares.astype(real), square_of_mean.astype(real)
    terms = (m - big) * n_ / others, (n_ * big - m) / others
    new = (ema(a, b, NOISE_DECAY) for a, b in zip(old, terms, strict=True))
    return Noise(*(where(several, a, b) for a, b in zip(new, old, strict=True)))


def noise_scale(noise: Noise) -> Float[Array, ""]:
    """0 as long as nothing was seen, or only noise."""
    known = noise.signal > 0
    return where(known, noise.variance / where(known, noise.signal, 1), 0)
