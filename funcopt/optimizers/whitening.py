"""A preconditioner of two factors that makes gradients white, found without an inverse.

    grad_mu ← β grad_mu + (1 − β) G            β = min(b1, (t − 1) / t)
    each `frequency` steps, with noise V:
        A = P_l (G + (damping + ε |G|) V) P_rᵀ,    P = Qᴴ Q of both sides
        T = A Aᴴ, and Aᵀ A* for the right side, which are to be c I
        Q ← Q − preconditioner_lr / bound (T − c I) Q           see `whitening_factor`
    u = P_l grad_mu P_rᵀ, with at most `clip_rms` as its root mean square, then `clip_max`

A side that is longer than `max_size`, or of which the square is more than `max_skew` times the
number of elements, has a diagonal Q. The first Q are multiples of the identity, by the mean |G|⁴
of the first gradient. Sources: see `kron`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

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
from ..math.moments import ema, times, zeros_real
from ..math.norm import clip_ratio, norm
from ..math.norm_bound import VECTORS, random_arrays
from ..math.varying import varying_like
from .whitening_factor import Factor, Matrix, first_scale, fitted_factor, preconditioned, times_each

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
        scale = self.init_scale
        scale = first_scale(grad, self.damping) if scale is None else jnp.asarray(scale)
        start = jnp.where(t == 1, scale**0.5, 1)
        left, right = times(start, slots.left), times(start, slots.right)
        eps = self.damping + jnp.finfo(grad.dtype).eps * jnp.abs(grad)
        dense = [(VECTORS, len(q)) for q in (left, right) if q.ndim == 2 for _ in range(2)]
        noise, *vectors = random_arrays(self.key, t, [grad.shape, *dense], grad)
        a = preconditioned(grad + times_each(eps, noise), left, right)
        how = self.preconditioner_lr, self.bound_decay
        left, left_bound = fitted_factor(left, slots.left_bound, a, vectors[:2], *how)
        right, right_bound = fitted_factor(right, slots.right_bound, a.T, vectors[-2:], *how)
        sizes = jnp.max(jnp.abs(left)), jnp.max(jnp.abs(right))
        ratio = jnp.sqrt(sizes[1] / jnp.where(sizes[0] > 0, sizes[0], 1))
        balance = jnp.where((t % BALANCED_EACH == 0) & (ratio > 0), ratio, 1)
        left, right = times(balance, left), times(1 / balance, right)
        return WhiteningSlots(slots.grad_mu, left, right, left_bound, right_bound)
