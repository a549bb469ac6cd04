"""A factor of a preconditioner that makes gradients white, and a step of fitting it.

    T = A Aᴴ,  c = (number of elements) / (length of the side)
    bound ← max(bound_decay bound + (1 − bound_decay) ℓ, ℓ)          ℓ ≈ ‖T‖ + c
    Q ← Q − preconditioner_lr / bound (T − c I) Q, then turned towards a Hermitian one

where A is what P = Qᴴ Q of both sides make of a gradient, and white where T is c I. Of a diagonal Q
T is the diagonal. Li, 2024 (https://arxiv.org/abs/2402.11858), and his program.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ..math.moments import abs_sq, ema, times
from ..math.norm_bound import norm_bound
from ..math.procrustes import turned

Factor = Inexact[Array, "..."]
Matrix = Inexact[Array, "m n"]
Number = Float[Array, ""]


def preconditioned(x: Matrix, left: Factor, right: Factor) -> Matrix:
    """P_l x P_rᵀ."""
    return whitened(right, whitened(left, x).T).T


def whitened(q: Factor, x: Matrix) -> Matrix:
    """Qᴴ Q x, of a Q that may be a diagonal."""
    if q.ndim == 1:
        return times_each(abs_sq(q)[:, None], x)
    inner = jnp.matmul(q, x, precision="highest")
    return jnp.matmul(q.conj().T, inner, precision="highest")


def times_each(numbers: Float[Array, "..."], x: Factor) -> Factor:
    return numbers.astype(x.dtype) * x


def fitted_factor(
    q: Factor, bound: Number, a: Matrix, vectors: list[Array], rate: ArrayLike, decay: ArrayLike
) -> tuple[Factor, Number]:
    """The factor of the first axis of `a`, and its bound, after one step."""
    c = a.size / len(q)
    if q.ndim == 1:
        t = jnp.sum(abs_sq(a), 1)
        bound = raised(bound, jnp.max(t) + c, decay)
        return times_each(1 - (t - c) * (rate / bound), q), bound
    t = jnp.matmul(a, a.conj().T, precision="highest")
    bound = raised(bound, norm_bound(t, jnp.max(jnp.diagonal(t).real), vectors[0]) + c, decay)
    rise = jnp.matmul(t, q, precision="highest") - c * q
    return turned(q - times(rate / bound, rise), vectors[1]), bound


def raised(bound: Number, to: Number, decay: ArrayLike) -> Number:
    return jnp.maximum(ema(bound, to, decay), to)


def first_scale(grad: Matrix, damping: ArrayLike) -> Number:
    """(mean |G|⁴ + damping⁴)^−⅛, without leaving the range of floats."""
    unit = jnp.maximum(jnp.max(jnp.abs(grad)), damping)
    unit = jnp.where(unit > 0, unit, 1)
    mean = jnp.sum((jnp.abs(grad) / unit) ** 4) / grad.size
    total = mean + (damping / unit) ** 4
    return unit**-0.5 * jnp.where(total > 0, total, 1) ** -0.125
