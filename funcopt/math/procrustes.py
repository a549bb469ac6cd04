"""Matrices that are turned towards a Hermitian one, step by step.

    R = Qᴴ − Q, divided by a bound of its norm
    Q ← (I + a R + (a R)² / 2) Q        with the a ≤ 1/8 that is best for Re tr Q

exp(a R) is unitary, and its first terms are so up to a⁴ / 4: QᴴQ stays. Li, 2024
(https://arxiv.org/abs/2402.11858), and his program.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .norm_bound import norm_bound


def turned(q: Inexact[Array, "n n"], vectors: Inexact[Array, "k n"]) -> Inexact[Array, "n n"]:
    """One step, by random vectors for the bound."""
    r = q.conj().T - q
    bound = norm_bound(r, jnp.max(jnp.abs(r)), vectors)
    r = r / (bound + jnp.finfo(r.dtype).smallest_normal).astype(r.dtype)
    rq = jnp.matmul(r, q, precision="highest")
    rrq = jnp.matmul(r, rq, precision="highest")
    first, second = (jnp.sum(jnp.diagonal(x).real) for x in (rq, rrq))
    curved = second < 0
    best = jnp.minimum(-first / jnp.where(curved, second, -1), 0.125)
    a = jnp.where(curved, best, 0.125).astype(q.dtype)
    return q + a * (rq + 0.5 * a * rrq)
