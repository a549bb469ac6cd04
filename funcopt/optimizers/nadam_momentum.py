"""The momentum of Nadam that rises, as PyTorch has it, and the products of it.

    m_t = b1 (1 − ½ 0.96^(t momentum_decay))      from about b1 / 2 towards b1
    Πᵗm = m₁ ⋯ mₜ                                 1 − Πᵗm is the total weight in a mean

Dozat, 2016, Algorithm 2 (https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..math.moments import power


def nadam_momentum(
    b1: Array | float, momentum_decay: Array | float, t: Int[Array, ""], dtype
) -> Float[Array, ""]:
    """m_t."""
    return b1 * (1 - 0.5 * power(0.96, t, dtype) ** momentum_decay)


def momentum_product(
    b1: Array | float, momentum_decay: Array | float, t: Int[Array, ""], dtype
) -> Float[Array, ""]:
    """m₁ ⋯ mₜ in closed form, where PyTorch keeps a running product for each parameter.

    With q = 0.96^momentum_decay, log(1 − ½qⁱ) = −Σₖ (½qⁱ)ᵏ / k, and the sum over i of each power k
    is geometric. Forty terms leave 2⁻⁴⁰.
    """
    k = jnp.arange(1, 41, dtype=dtype)
    log_q = k * (momentum_decay * math.log(0.96))
    steps = t.astype(dtype)
    still = log_q == 0
    ratio = jnp.expm1(steps * log_q) / jnp.where(still, 1, jnp.expm1(log_q))
    sums = jnp.where(still, steps, ratio) * jnp.exp(log_q)
    return power(b1, t, dtype) * jnp.exp(-jnp.sum(sums * 0.5**k / k))
