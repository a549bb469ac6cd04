"""Adafactor: divide by a second moment of which only the means of rows and of columns are kept.

    w = t^−decay_rate                               the weight of this step, 1 at the first
    v_row ← (1 − w) v_row + w mean(|g|² + eps)      of each row
    v_col ← (1 − w) v_col + w mean(|g|² + eps)      of each column
    u = g / √v̂       v̂ = v_row v_col / mean(v_row), or all of v where an array is small
    u ← learning_rate max(min_scale, RMS(x)) u / max(1, RMS(u) / clipping_threshold)
    u ← momentum · mean of u + (1 − momentum) u     if there is one
    x ← x − u − weight_decay x                      RMS(x) = √mean(|x|²)

Shazeer & Stern, 2018, Algorithms 4 and 5 (https://arxiv.org/abs/1804.04235), in which the learning
rate is min(0.01, 1 / √t), and there is no momentum and no decay. As in optax, the mean is of steps
with their rates in them, and decay is not multiplied by the rate.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact, Int

from ..clips.clip_by_block_rms import ADAFACTOR
from ..core.arguments import (
    AxisName,
    DType,
    Flag,
    NonNegative,
    Offset,
    OptionalDecayRate,
    OptionalNonNegative,
    OptionalThreshold,
    Within,
)
from ..core.leaf import LayerAxis
from ..core.lift import Lifted, masked
from ..core.optimizer import lift
from ..core.paths import Mask
from ..core.record import Static
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.steps import real, since
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, ema, times, zeros_real
from ..math.norm import clip_ratio, norm, squarable
from ..math.safe import safe_divide
from ..math.varying import mean_across, norm_across, parts, zeros_learnt_from
from ..storage import Storage, with_slot
from ..transforms.add_decayed_weights import Decay
from ..transforms.scale import Scale
from .stable_adamw import RmsReport

Length = Annotated[int, Within(1, 2**31 - 1, schedule=False, integer=True), Static]
"""How many elements there are along an axis."""


class FactoredSlots(NamedTuple):
    """`v_row` and `v_col`, with an axis of length 1 where the mean was taken; or else `v`."""

    v_row: Accumulator | None
    v_col: Accumulator | None
    v: Accumulator | None


def mean_squares(slots: FactoredSlots) -> Float[Array, "*p"]:
    """v̂ of the slots alone."""
    v_row, v_col, v = slots
    if v_row is None or v_col is None:
        assert v is not None
        return v
    rows = tuple(axis for axis, n in enumerate(v_col.shape) if n == 1)
    return abs_sq(_root(v_row, v_col, jnp.mean(v_row, rows, keepdims=True)))


def _root(v_row: Float[Array, "*r"], v_col: Float[Array, "*c"], whole: Float[Array, "*w"]) -> Array:
    """√v̂ by its factors, whose product may be too large or too small for its type."""
    return jnp.sqrt(safe_divide(v_row, whole)) * jnp.sqrt(v_col)


@rule(acts_on="array", slots=FactoredSlots)
class FactoredRms(Rule):
    min_dim_size_to_factor: Length = 128
    decay_rate: NonNegative = 0.8
    decay_offset: Offset = 0
    eps: NonNegative = 1e-30
    factored: bool = True
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> FactoredSlots:
        v, axes = zeros_real(param), self.axes(param)
        if not axes:
            return FactoredSlots(None, None, v)
        v_col, v_row = (jnp.mean(v, axis, keepdims=True) for axis in axes)
        whole = self.axis_name if axes[0] == 0 else None
        return FactoredSlots(v_row, zeros_learnt_from(v_col, whole), None)

    def update(self, grad: Inexact[Array, "*p"], slots: FactoredSlots, param, clock: Clock):
        del param  # the second moment is of gradients only
        squares = abs_sq(squarable(grad)) + self.eps
        w = self.weight(clock.t, squares)
        v_row, v_col, v = slots
        if v_row is None or v_col is None:
            assert v is not None
            v = clock.choose(ema(squares, v, w), v)
            return divide_or_keep(grad, jnp.sqrt(v)), FactoredSlots(None, None, v)
        row, col = self.axes(grad)
        v_row = clock.choose(ema(self.mean(squares, col), v_row, w), v_row)
        v_col = clock.choose(ema(self.mean(squares, row), v_col, w), v_col)
        root = _root(v_row, v_col, self.mean(v_row, row))
        return divide_or_keep(grad, root), FactoredSlots(v_row, v_col, None)

    def axes(self, x: Inexact[Array, "*p"]) -> tuple[int, ...]:
        """Those of rows and of columns: the two longest, none where one of them is too short."""
        longest = sorted(range(x.ndim), key=x.shape.__getitem__)[-2:]
        short = any(x.shape[axis] < self.min_dim_size_to_factor for axis in longest)
        return () if short or x.ndim < 2 or not self.factored else tuple(sorted(longest))

    def mean(self, x: Float[Array, "*p"], axis: int) -> Float[Array, "*m"]:
        """Divided before it is summed: what is finite need not have a finite sum."""
        mean = jnp.sum(x / x.shape[axis], axis, keepdims=True)
        return mean_across(mean, self.axis_name) if axis == 0 else mean

    def weight(self, t: Int[Array, ""], like: Float[Array, "*p"]) -> Float[Array, ""]:
        """That of this step in a mean; by itself, since 1 minus a decay has lost its digits."""
        steps = jnp.maximum(since(t, self.decay_offset), 1).astype(like.dtype)
        return steps ** -jnp.asarray(self.decay_rate, like.dtype)

    def divides_by(self) -> Divisor:
        return Divisor(mean_squares, lambda t: 1 - self.weight(t, real(t)), eps_root=self.eps)


class StepSlots(NamedTuple):
    ema: Signed | None


@rule(acts_on="array", slots=StepSlots, report=RmsReport, needs_params=True)
class RelativeStep(Rule):
    """A step of bounded length, relative to that of the parameter, with the learning rate in it."""

    clipping_threshold: OptionalThreshold = 1.0
    multiply_by_parameter_scale: bool = True
    momentum: OptionalDecayRate = None
    min_scale: NonNegative = 1e-3
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> StepSlots:
        return StepSlots(None if self.momentum is None else jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: StepSlots, param: Inexact[Array, "*p"],
               clock: Clock):  # fmt: skip
        assert clock.lr is not None
        r, ratio = self.rms(grad), 1.0
        if self.clipping_threshold is not None:
            ratio = clip_ratio(r, self.clipping_threshold)
        report = RmsReport(r, ratio, ratio < 1)
        scale = ratio * clock.lr
        if self.multiply_by_parameter_scale:
            scale = scale * jnp.maximum(self.rms(param), self.min_scale)
        step = times(scale, grad)
        if slots.ema is None:
            return step, slots, report
        mean = clock.choose(ema(slots.ema, step, self.momentum), slots.ema)
        return mean, StepSlots(mean), report

    def rms(self, x: Inexact[Array, "*p"]) -> Float[Array, ""]:
        elements = max(x.size, 1) * parts(x, self.axis_name)
        return norm_across(norm(x), self.axis_name) / elements**0.5


def relative_step(step: ArrayLike) -> Float[Array, ""]:
    """The paper's learning rate, min(0.01, 1 / √t), where t is 1 at step 0."""
    return jnp.minimum(0.01, (real(step) + 1) ** -0.5)


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
    """Adafactor's direction: divided by the root of a second moment that is kept by its factors.

    Arguments as in `adafactor`, where `step_offset` is `decay_offset` and `epsilon` is `eps`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_factored_rms(), funcopt.descend(1e-3))
    chain(scale_by_factored_rms(), descend(learning_rate=0.001))
    """
    rule = FactoredRms(
        min_dim_size_to_factor, decay_rate, step_offset, epsilon, factored, axis_name
    )
    return lift(rule, layer_axis=layer_axis, storage=storage)


@transformation(paper=ADAFACTOR)
def adafactor(
    learning_rate: OptionalNonNegative = None,
    min_dim_size_to_factor: Length = 128,
    decay_rate: NonNegative = 0.8,
    decay_offset: Offset = 0,
    multiply_by_parameter_scale: Flag = True,
    clipping_threshold: OptionalThreshold = 1.0,
    momentum: OptionalDecayRate = None,
    dtype_momentum: DType = None,
    weight_decay: NonNegative = 0.0,
    eps: NonNegative = 1e-30,
    factored: Flag = True,
    mask: Mask = None,
    *,
    min_scale: NonNegative = 1e-3,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adafactor: an adaptive optimizer that keeps hardly more than the parameters themselves.

    Of a matrix [m, n] it remembers m + n numbers, where Adam remembers 2 m n.

    Args:
        learning_rate: how far a step goes, relative to the root mean square of the parameter, at
            least 0; or a schedule. None for the paper's min(0.01, 1 / √t). (In optax None is 1.)
        min_dim_size_to_factor: the second moment is factored along the two longest axes of an
            array where both are at least as long as this, at least 1.
        decay_rate: the t-th step has the weight t^−decay_rate in the second moment, at least 0.
        decay_offset: how many steps were made before those that count here, as when a model is
            fine-tuned with the state of another run; at least 0.
        multiply_by_parameter_scale: whether steps are relative to the parameter; False for a
            learning rate that is about the length of a step in each element.
        clipping_threshold: the largest root mean square of an array's direction, before the rate
            multiplies it, at least 0; or a schedule. None for no bound.
        momentum: decay of a mean of steps, in [0, 1), which is as large as the parameters; None for
            none.
        dtype_momentum: the dtype in which that is kept, None for the dtype of the arithmetic.
        weight_decay: of each step, at least 0: as in optax, the learning rate does not multiply it.
        eps: added to squared gradients, at least 0.
        factored: False to keep the second moment of each element.
        mask: which parameters decay, see `add_decayed_weights`.
        min_scale: the root mean square that a parameter counts with if its own is smaller, so that
            it can leave zero; at least 0.
        layer_axis: where layers are stacked in one leaf, each of which is an array of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand
            along its first axis. Whether it is factored is decided by the part that a device holds.
            None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `update_rms` (of a leaf's direction, the largest), `clip_ratio` (the
    smallest) and `clipped` (the fraction of leaves), see `funcopt.metrics`.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.adafactor(0.1, min_dim_size_to_factor=2)
    >>> params = jnp.array([[1.0, -2.0], [2.0, 4.0]])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([[ 0.75, -1.75],
           [ 1.75,  3.75]], dtype=float32)
    >>> state.v_row.shape, state.v_col.shape
    ((2, 1), (1, 2))

    Source: https://arxiv.org/abs/1804.04235, Algorithms 4 and 5.
    """
    rules = (
        FactoredRms(min_dim_size_to_factor, decay_rate, decay_offset, eps, factored, axis_name),
        RelativeStep(
            clipping_threshold, multiply_by_parameter_scale, momentum, min_scale, axis_name
        ),
        masked(mask, Decay(weight_decay)),
        Scale(-1.0),
    )
    rate = relative_step if learning_rate is None else learning_rate
    return Lifted(rules, rate, with_slot(storage, "ema", dtype_momentum), layer_axis=layer_axis)
