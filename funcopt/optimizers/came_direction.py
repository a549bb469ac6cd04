"""CAME's direction: Adafactor's with a momentum, smaller where it keeps changing.

    u = g / √v̂,  u ← u / max(1, RMS(u) / clipping_threshold)
    mu ← b1 mu + (1 − b1) u
    the direction is mu / √ŝ

v̂ and ŝ are products of the means of rows and of columns, as in Adafactor: of |g|² + eps with the
decay b2, and of the instability |u − mu|² + eps_instability with b3. Vectors have all of v, and no
ŝ. Luo et al., 2023, Algorithm 2 (https://arxiv.org/abs/2307.02047). No bias is corrected, and rows
and columns are the last two axes, as in the authors' program.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import AxisName, DecayRate, NonNegative, OptionalThreshold
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..math.moments import abs_sq, divide_or_keep, ema, times, zeros_real
from ..math.norm import clip_ratio, norm, squarable
from ..math.varying import norm_across, parts
from .factored_slots import FactoredSlots, factored_root, mean_along, mean_squares, zero_means
from .stable_adamw_direction import RmsReport


class CameSlots(NamedTuple):
    """The mean direction; its factored instability; the second moment, factored or whole."""

    mu: Signed
    res_row: Accumulator | None
    res_col: Accumulator | None
    v_row: Accumulator | None
    v_col: Accumulator | None
    v: Accumulator | None


def mean_gradient_squares(slots: CameSlots) -> Float[Array, "*p"]:
    return mean_squares(FactoredSlots(slots.v_row, slots.v_col, slots.v))


@rule(
    acts_on="array",
    slots=CameSlots,
    report=RmsReport,
    decay_of={
        "mu": "b1",
        **dict.fromkeys(("v", "v_row", "v_col"), "b2"),
        "res_row": "b3",
        "res_col": "b3",
    },
)
class Came(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    b3: DecayRate = 0.9999
    eps: NonNegative = 1e-30
    eps_instability: NonNegative = 1e-16
    clipping_threshold: OptionalThreshold = 1.0
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> CameSlots:
        mu, v = jnp.zeros_like(param), zeros_real(param)
        if param.ndim < 2 or not param.size:
            return CameSlots(mu, None, None, None, None, v)
        row, col = zero_means(v, (param.ndim - 2, param.ndim - 1), self.axis_name)
        return CameSlots(mu, row, col, jnp.copy(row), jnp.copy(col), None)

    def update(self, grad: Inexact[Array, "*p"], slots: CameSlots, param, clock: Clock):
        del param  # CAME looks only at gradients
        squares = abs_sq(squarable(grad)) + self.eps
        v, row, col = slots.v, slots.v_row, slots.v_col
        if v is None:
            row, col = self.renewed(clock, row, col, squares, self.b2)
            root = self.root(row, col)
        else:
            v = clock.choose(ema(v, squares, self.b2), v)
            root = jnp.sqrt(v)
        u = divide_or_keep(grad, root)
        elements = max(u.size, 1) * parts(u, self.axis_name)
        r, ratio = norm_across(norm(u), self.axis_name) / elements**0.5, 1.0
        if self.clipping_threshold is not None:
            ratio = clip_ratio(r, self.clipping_threshold)
            u = times(ratio, u)
        report = RmsReport(r, ratio, ratio < 1)
        mu = clock.choose(ema(slots.mu, u, self.b1), slots.mu)
        if v is not None:
            return mu, CameSlots(mu, None, None, None, None, v), report
        unstable = abs_sq(u - mu) + self.eps_instability
        res = self.renewed(clock, slots.res_row, slots.res_col, unstable, self.b3)
        return divide_or_keep(mu, self.root(*res)), CameSlots(mu, *res, row, col, None), report

    def renewed(self, clock: Clock, row, col, x: Float[Array, "*p"], decay) -> tuple[Array, Array]:
        """The means of rows and of columns, after `x`."""
        along = x.ndim - 1, x.ndim - 2
        here = [mean_along(x, axis, self.axis_name) for axis in along]
        new_row, new_col = (
            clock.choose(ema(old, mean, decay), old)
            for old, mean in zip((row, col), here, strict=True)
        )
        return new_row, new_col

    def root(self, row, col) -> Array:
        return factored_root(row, col, mean_along(row, row.ndim - 2, self.axis_name))

    def divides_by(self) -> Divisor:
        return Divisor(mean_gradient_squares, self.b2, eps_root=self.eps)
