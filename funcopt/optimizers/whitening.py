"""A preconditioner of two factors that makes gradients white, found without an inverse.

    grad_mu ← β grad_mu + (1 − β) G            β = min(b1, (t − 1) / t)
    each `frequency` steps, with noise V and c = (number of elements) / (length of the side):
        A = P_l (G + (damping + ε |G|) V) P_rᵀ,    P = Qᴴ Q of both sides
        T = A Aᴴ, and Aᵀ A* for the right side
        bound ← max(bound_decay bound + (1 − bound_decay) ℓ, ℓ)      ℓ ≈ ‖T‖ + c
        Q ← Q − preconditioner_lr / bound (T − c I) Q, then turned towards a Hermitian one
    u = P_l grad_mu P_rᵀ, with at most `clip_rms` as its root mean square, then `clip_max`

A side that is longer than `max_size`, or of which the square is more than `max_skew` times the
number of elements, has a diagonal Q, of which T is the diagonal. The first Q are multiples of the
identity, by the mean |G|⁴ of the first gradient. Sources: see `kron`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import (
    DecayRate,
    Length,
    NonNegative,
    OptionalNonNegative,
    Seed,
    Steps,
    Threshold,
)
from ..core.rule import Accumulator, Clock, Exact, Rule, Signed, rule
from ..math.moments import abs_sq, ema, times, zeros_real
from ..math.norm import clip_ratio, norm
from ..math.norm_bound import VECTORS, norm_bound, random_arrays
from ..math.procrustes import turned
from ..math.varying import varying_like

Matrix = Inexact[Array, "inputs outputs"]
Factor = Inexact[Array, "..."]
BALANCED_EACH = 100


class WhiteningSlots(NamedTuple):
    """A mean gradient, and of both sides the factor and a bound of how steep its fit is."""

    grad_mu: Signed
    left: Exact
    right: Exact
    left_bound: Accumulator
    right_bound: Accumulator


@rule(acts_on="matrix", slots=WhiteningSlots)
class Whiten(Rule):
    """The mean gradient times a preconditioner that makes gradients white."""

    b1: DecayRate = 0.9
    preconditioner_lr: NonNegative = 0.1
    bound_decay: DecayRate = 0.9
    damping: NonNegative = 1e-9
    init_scale: OptionalNonNegative = None
    max_size: Length = 8192
    max_skew: Length = 1
    frequency: Steps = 1
    whiten_grad: bool = True
    clip_rms: Threshold = 2.0
    clip_max: Threshold = 10.0
    key: Seed = 0

    def init(self, param: Matrix) -> WhiteningSlots:
        def first(n: int) -> Factor:
            dense = 1 < n <= self.max_size and n * n <= self.max_skew * param.size
            return varying_like((jnp.eye if dense else jnp.ones)(n, dtype=param.dtype), param)

        bound = jnp.sum(zeros_real(param))
        left, right = map(first, param.shape)
        return WhiteningSlots(jnp.zeros_like(param), left, right, bound, bound + 0)

    def update(self, grad: Matrix, slots: WhiteningSlots, param, clock: Clock):
        del param  # a direction asks only for gradients
        if not grad.size:
            return grad, slots
        t = clock.t
        decay = jnp.minimum(self.b1, 1 - 1 / t.astype(slots.left_bound.dtype))
        slots = clock.renew(slots, grad_mu=ema(slots.grad_mu, grad, decay))
        due = (t - 1) % self.frequency == 0
        seen = grad if self.whiten_grad else slots.grad_mu
        slots = jax.lax.cond(
            clock.choose(due, jnp.zeros_like(due)),
            lambda x, s: self.fitted(x, s, clock),
            lambda x, s: s,
            seen,
            slots,
        )
        u = preconditioned(slots.grad_mu, slots.left, slots.right)
        u = times(clip_ratio(norm(u) / grad.size**0.5, self.clip_rms), u)
        return times_each(clip_ratio(jnp.abs(u), self.clip_max), u), slots

    def fitted(self, grad: Matrix, slots: WhiteningSlots, clock: Clock) -> WhiteningSlots:
        """The slots after one step of fitting the factors to a gradient."""
        t = clock.t
        start = jnp.where(t == 1, self.first_scale(grad) ** 0.5, 1)
        left, right = times(start, slots.left), times(start, slots.right)
        eps = self.damping + jnp.finfo(grad.dtype).eps * jnp.abs(grad)
        dense = [(VECTORS, len(q)) for q in (left, right) if q.ndim == 2 for _ in range(2)]
        noise, *vectors = random_arrays(self.key, t, [grad.shape, *dense], grad)
        a = preconditioned(grad + times_each(eps, noise), left, right)
        left, left_bound = self.side(left, slots.left_bound, a, vectors[:2])
        right, right_bound = self.side(right, slots.right_bound, a.T, vectors[-2:])
        sizes = jnp.max(jnp.abs(left)), jnp.max(jnp.abs(right))
        ratio = jnp.sqrt(sizes[1] / jnp.where(sizes[0] > 0, sizes[0], 1))
        balance = jnp.where((t % BALANCED_EACH == 0) & (ratio > 0), ratio, 1)
        left, right = times(balance, left), times(1 / balance, right)
        return WhiteningSlots(slots.grad_mu, left, right, left_bound, right_bound)

    def side(self, q: Factor, bound: Array, a: Inexact[Array, "m n"], vectors: list[Array]):
        """The factor of the first axis of `a`, and the bound, after one step."""
        c = a.size / len(q)
        if q.ndim == 1:
            t = jnp.sum(abs_sq(a), 1)
            bound = self.raised(bound, jnp.max(t) + c)
            return times_each(1 - self.preconditioner_lr / bound * (t - c), q), bound
        t = jnp.matmul(a, a.conj().T, precision="highest")
        bound = self.raised(bound, norm_bound(t, jnp.max(jnp.diagonal(t).real), vectors[0]) + c)
        rise = jnp.matmul(t, q, precision="highest") - c * q
        return turned(q - times(self.preconditioner_lr / bound, rise), vectors[1]), bound

    def raised(self, bound: Float[Array, ""], to: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.maximum(ema(bound, to, self.bound_decay), to)

    def first_scale(self, grad: Matrix) -> Float[Array, ""]:
        """What the product of the first factors is a multiple of the identity by."""
        if self.init_scale is not None:
            return jnp.asarray(self.init_scale)
        largest = jnp.max(jnp.abs(grad))
        unit = jnp.maximum(largest, self.damping)
        unit = jnp.where(unit > 0, unit, 1)
        mean = jnp.sum((jnp.abs(grad) / unit) ** 4) / grad.size
        total = mean + (self.damping / unit) ** 4
        return unit**-0.5 * jnp.where(total > 0, total, 1) ** -0.125


def preconditioned(x: Matrix, left: Factor, right: Factor) -> Matrix:
    """P_l x P_rᵀ."""
    return whitened(right, whitened(left, x).T).T


def whitened(q: Factor, x: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """Qᴴ Q x, of a Q that may be a diagonal."""
    if q.ndim == 1:
        return times_each(abs_sq(q)[:, None], x)
    inner = jnp.matmul(q, x, precision="highest")
    return jnp.matmul(q.conj().T, inner, precision="highest")


def times_each(numbers: Float[Array, "..."], x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return numbers.astype(x.dtype) * x
