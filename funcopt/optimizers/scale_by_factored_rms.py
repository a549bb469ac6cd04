"""Adafactor's direction: the gradient over the root of a factored second moment.

    w = max(t^−decay_rate, 1 − max_decay)           the weight of this step, 1 at the first
    v_row ← (1 − w) v_row + w mean(|g|² + eps)      of each row
    v_col ← (1 − w) v_col + w mean(|g|² + eps)      of each column
    u = g / √v̂       v̂ = v_row v_col / mean(v_row), or all of v where an array is small

Shazeer & Stern, 2018, Algorithms 4 and 5 (https://arxiv.org/abs/1804.04235), who keep sums in place
of means.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ..clips.clip_by_block_rms import ADAFACTOR
from ..core.arguments import AxisName, ClosedDecayRate, Flag, Length, NonNegative, Offset
from ..core.leaf import LayerAxis
from ..core.optimizer import lift
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, ema, zeros_real
from ..math.norm import squarable
from ..storage import Storage
from .factored_slots import FactoredSlots, factored_root, mean_along, mean_squares, zero_means


@rule(acts_on="array", slots=FactoredSlots)
class FactoredRms(Rule):
    min_dim_size_to_factor: Length = 128
    decay_rate: NonNegative = 0.8
    decay_offset: Offset = 0
    eps: NonNegative = 1e-30
    factored: bool = True
    axis_name: AxisName = None
    max_decay: ClosedDecayRate = 1.0
    pytorch: bool = False

    def init(self, param: Inexact[Array, "*p"]) -> FactoredSlots:
        v, axes = zeros_real(param), self.axes(param)
        if not axes:
            return FactoredSlots(None, None, v)
        return FactoredSlots(*zero_means(v, axes, self.axis_name), None)

    def update(self, grad: Inexact[Array, "*p"], slots: FactoredSlots, param, clock: Clock):
        del param  # the second moment is of gradients only
        squares = abs_sq(squarable(grad))
        if not self.pytorch:
            squares = squares + self.eps
        w = self.weight(clock.t, squares)
        v_row, v_col, v = slots
        if v_row is None or v_col is None:
            assert v is not None
            v = clock.choose(ema(squares, v, w), v)
            return self.divided(grad, jnp.sqrt(v)), FactoredSlots(None, None, v)
        row, col = self.axes(grad)
        v_row = clock.choose(ema(mean_along(squares, col, self.axis_name), v_row, w), v_row)
        v_col = clock.choose(ema(mean_along(squares, row, self.axis_name), v_col, w), v_col)
        whole = mean_along(v_row, row, self.axis_name)
        if self.pytorch:
            whole = jnp.maximum(whole, self.eps)
        root = factored_root(v_row, v_col, whole)
        return self.divided(grad, root), FactoredSlots(v_row, v_col, None)

    def divided(self, x: Inexact[Array, "*p"], root: Float[Array, "*p"]) -> Inexact[Array, "*p"]:
        return divide_or_keep(x, jnp.maximum(root, self.eps) if self.pytorch else root)

    def axes(self, x: Inexact[Array, "*p"]) -> tuple[int, ...]:
        """Those of rows and of columns: the two longest, none where one of them is too short.

        PyTorch's are the last two.
        """
        axes = range(x.ndim)
        longest = (axes if self.pytorch else sorted(axes, key=x.shape.__getitem__))[-2:]
        short = any(x.shape[axis] < self.min_dim_size_to_factor for axis in longest)
        return () if short or x.ndim < 2 or not self.factored else tuple(sorted(longest))

    def weight(self, t: Int[Array, ""], like: Float[Array, "*p"]) -> Float[Array, ""]:
        """That of this step in a mean; by itself, since 1 minus a decay has lost its digits."""
        offset, rate = (jnp.asarray(x, like.dtype) for x in (self.decay_offset, self.decay_rate))
        weight = jnp.maximum(t.astype(like.dtype) - offset, 1) ** -rate
        return jnp.maximum(weight, jnp.asarray(1 - self.max_decay, like.dtype))

    def divides_by(self) -> Divisor:
        def decay(t: Int[Array, ""]) -> Array:
            return 1 - self.weight(t, jnp.zeros([], float))

        beside, inside = (self.eps, 0.0) if self.pytorch else (0.0, self.eps)
        return Divisor(mean_squares, decay, beside, inside)


@transformation(paper=ADAFACTOR)
def scale_by_factored_rms(
    factored: Flag = True,
    decay_rate: NonNegative = 0.8,
    step_offset: Offset = 0,
    min_dim_size_to_factor: Length = 128,
    epsilon: NonNegative = 1e-30,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adafactor's direction, without the learning rate: the gradient over its factored RMS.

    Arguments as in `adafactor`, where `step_offset` is `decay_offset` and `epsilon` is `eps`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_factored_rms(), funcopt.descend(1e-3))
    chain(scale_by_factored_rms(), descend(learning_rate=0.001))
    """
    rule = FactoredRms(
        min_dim_size_to_factor, decay_rate, step_offset, epsilon, factored, axis_name
    )
    return lift(rule, layer_axis=layer_axis, storage=storage)
