"""SM3's direction: the gradient over a bound of AdaGrad's sum, which few numbers tell.

    s = |g|² + min over axes a of v_a       v_a has the length of axis a, and is 0 at first
    v_a ← max of s over all other axes
    mu ← b1 mu + (1 − b1) g / √(s + eps)

Anil et al., 2019, Algorithm SM3-II (https://arxiv.org/abs/1901.11150), whose cover of an array are
its slices along each axis. eps is optax's; the paper has 0 / 0 = 0.
"""

from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import AxisName, DecayRate, NonNegative
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..math.moments import abs_sq, divide_by_root, ema, zeros_real
from ..math.varying import max_across, zeros_learnt_from


class Sm3Slots(NamedTuple):
    """The mean step; for each axis the bounds of its slices, all other axes having length 1.

    Beyond the fourth, axes share `v_4`, which is one of slices along all of them.
    """

    mu: Signed
    v_0: Accumulator
    v_1: Accumulator | None
    v_2: Accumulator | None
    v_3: Accumulator | None
    v_4: Accumulator | None


def bounds(slots: Sm3Slots) -> list[Array]:
    return [x for x in slots[1:] if x is not None]


def least_bound(slots: Sm3Slots) -> Float[Array, "*p"]:
    return reduce(jnp.minimum, bounds(slots))


@rule(acts_on="array", slots=Sm3Slots)
class Sm3(Rule):
    b1: DecayRate = 0.9
    eps: NonNegative = 1e-8
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> Sm3Slots:
        zero = self.slices(zeros_real(param))
        seen = [zero[0], *(zeros_learnt_from(x, self.axis_name) for x in zero[1:])]
        return Sm3Slots(jnp.zeros_like(param), *seen, *[None] * (5 - len(seen)))

    def update(self, grad: Inexact[Array, "*p"], slots: Sm3Slots, param, clock: Clock):
        del param  # SM3 looks only at gradients
        square = abs_sq(grad) + least_bound(slots)
        largest = self.slices(square)
        largest[1:] = [max_across(x, self.axis_name) for x in largest[1:]]
        step = divide_by_root(grad, square, eps_root=self.eps)
        names = [f"v_{i}" for i in range(len(largest))]
        new = dict(zip(names, largest, strict=True))
        slots = clock.renew(slots, mu=ema(slots.mu, step, self.b1), **new)
        return slots.mu, slots

    def slices(self, x: Float[Array, "*p"]) -> list[Array]:
        """The largest element in each slice along the first axis, the second and so on."""
        if x.ndim < 2:
            return [x]
        kept = [(i,) for i in range(min(x.ndim, 4))] + [tuple(range(4, x.ndim))] * (x.ndim > 4)
        others = [tuple(i for i in range(x.ndim) if i not in axes) for axes in kept]
        return [jnp.max(x, axes, keepdims=True, initial=0) for axes in others]

    def divides_by(self) -> Divisor:
        return Divisor(least_bound, None, eps_root=self.eps, forgets=False)
