"""Adafactor: divide by a second moment of rows and columns, and step relative to the parameter.

    u = g / √v̂                                      as in `scale_by_factored_rms`
    u ← learning_rate max(min_scale, RMS(x)) u / max(1, RMS(u) / clipping_threshold)
    u ← momentum · mean of u + (1 − momentum) u     if there is one
    x ← x − u − weight_decay x                      RMS(x) = √mean(|x|²)

Shazeer & Stern, 2018, Algorithms 4 and 5 (https://arxiv.org/abs/1804.04235), in which the learning
rate is min(0.01, 1 / √t), and there is no momentum and no decay. As in optax, the mean is of steps
with their rates in them, and decay is not multiplied by the rate.
"""

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ..clips.clip_by_block_rms import ADAFACTOR
from ..core.arguments import (
    AxisName,
    Choice,
    ClosedDecayRate,
    DType,
    Flag,
    Length,
    NonNegative,
    Offset,
    OptionalDecayRate,
    OptionalNonNegative,
    OptionalThreshold,
)
from ..core.leaf import LayerAxis
from ..core.lift import masked
from ..core.optimizer import optimizer, subtracted
from ..core.paths import Mask
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import ema, times
from ..math.norm import clip_ratio, norm
from ..math.varying import norm_across, parts
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_factored_rms import FactoredRms
from .stable_adamw import RmsReport


class StepSlots(NamedTuple):
    ema: Signed | None


@rule(acts_on="array", slots=StepSlots, report=RmsReport, needs_params=True)
class RelativeStep(Rule):
    """Adafactor's step: bounded, relative to the size of the parameter, and to the rate or not."""

    clipping_threshold: OptionalThreshold = 1.0
    multiply_by_parameter_scale: bool = True
    momentum: OptionalDecayRate = None
    min_scale: NonNegative = 1e-3
    axis_name: AxisName = None
    with_rate: bool = True

    def init(self, param: Inexact[Array, "*p"]) -> StepSlots:
        return StepSlots(None if self.momentum is None else jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: StepSlots, param: Inexact[Array, "*p"],
               clock: Clock):  # fmt: skip
        r, ratio = self.rms(grad), 1.0
        if self.clipping_threshold is not None:
            ratio = clip_ratio(r, self.clipping_threshold)
        report = RmsReport(r, ratio, ratio < 1)
        scale: ArrayLike = ratio
        if self.with_rate:
            assert clock.lr is not None
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
    return jnp.minimum(0.01, (jnp.asarray(step, float) + 1) ** -0.5)


VARIANTS = ("paper", "big_vision", "pytorch")


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
    weight_decay: WeightDecay = 0.0,
    eps: NonNegative = 1e-30,
    factored: Flag = True,
    mask: Mask = None,
    *,
    min_scale: NonNegative = 1e-3,
    max_decay: ClosedDecayRate = 1.0,
    variant: Annotated[Literal["paper", "big_vision", "pytorch"], Choice(VARIANTS)] = "paper",
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adafactor: adaptive steps by a factored second moment, which needs hardly any memory.

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
        weight_decay: of each step, at least 0: as in optax, the learning rate does not multiply it,
            but with `variant="big_vision"`. Or one of `funcopt.decays`.
        eps: added to squared gradients, at least 0.
        factored: False to keep the second moment of each element.
        mask: which parameters decay, see `add_decayed_weights`.
        min_scale: the root mean square that a parameter counts with if its own is smaller, so that
            it can leave zero; at least 0.
        max_decay: of the second moment, in [0, 1], so that it does not remember ever longer; 1 for
            no bound.
        variant: `"big_vision"` multiplies by the learning rate at the end, after momentum and
            decay, as AdamW does. Its authors' settings are `adafactor(1e-3, 32, momentum=0.9,
            dtype_momentum="bfloat16", multiply_by_parameter_scale=False, clipping_threshold=None,
            max_decay=0.999, variant="big_vision")`. `"pytorch"` factors the last two axes, and its
            `eps` is not added: it is a floor of the root of the second moment, and of the mean of
            its rows.
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
    rated = variant != "big_vision"
    rules = (
        FactoredRms(
            min_dim_size_to_factor, decay_rate, decay_offset, eps, factored, axis_name, max_decay,
            pytorch=variant == "pytorch",
        ),
        RelativeStep(
            clipping_threshold, multiply_by_parameter_scale, momentum, min_scale, axis_name, rated
        ),
        masked(mask, decaying(weight_decay)),
    )  # fmt: skip
    rate = relative_step if learning_rate is None else learning_rate
    storage = with_slot(storage, "ema", dtype_momentum)
    make = subtracted if rated else optimizer
    return make(*rules, learning_rate=rate, layer_axis=layer_axis, storage=storage)
