"""Adafactor: divide by a second moment of rows and columns, and step relative to the parameter.

    u = g / √v̂                  as in `scale_by_factored_rms`
    x ← x − s − weight_decay x  s: a bounded step along u, as in `relative_step.py`

Shazeer & Stern, 2018, Algorithms 4 and 5 (https://arxiv.org/abs/1804.04235), which have no decay.
As in optax, the mean is of steps with their rates in them, which do not multiply the decay.
"""

from typing import Annotated, Literal, get_args

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
from ..core.masked import masked
from ..core.optimizer import optimizer, subtracted
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .relative_step import RelativeStep, relative_step
from .scale_by_factored_rms import FactoredRms

VariantName = Literal["paper", "big_vision", "pytorch"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


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
    variant: Variant = "paper",
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adafactor: adaptive steps by a factored second moment, which needs hardly any memory.

    Of a matrix [m, n] it remembers m + n numbers, where Adam remembers 2 m n.

    Args:
        learning_rate: how far a step goes, relative to the root mean square of the parameter, at
            least 0; or a schedule. None for the paper's min(0.01, 1 / √t). (In optax None is 1.)
        min_dim_size_to_factor: how long the two longest axes must be to be factored, at least 1.
        decay_rate: in the second moment the t-th step has the weight t^−decay_rate, at least 0.
        decay_offset: how many steps of another run came before, whose state goes on; at least 0.
        multiply_by_parameter_scale: False for steps whose length does not depend on the parameter.
        clipping_threshold: the largest root mean square of an array's direction; None for no bound.
        momentum: decay of a mean of steps, as large as the parameters, in [0, 1); None for none.
        dtype_momentum: the dtype in which that is kept, None for the dtype of the arithmetic.
        weight_decay: of each step, at least 0: as in optax, the learning rate does not multiply it,
            but with `variant="big_vision"`. Or one of `funcopt.decays`.
        eps: added to squared gradients, at least 0.
        factored: False to keep the second moment of each element.
        mask: which parameters decay, see `add_decayed_weights`.
        min_scale: the least root mean square of a parameter, so that it can leave 0; at least 0.
        max_decay: the largest decay of the second moment, in [0, 1]; 1 for no bound.
        variant: `"big_vision"` multiplies by the learning rate last, as AdamW does. Its authors'
            settings are `adafactor(1e-3, 32, momentum=0.9, dtype_momentum="bfloat16",
            multiply_by_parameter_scale=False, clipping_threshold=None, max_decay=0.999,
            variant="big_vision")`. `"pytorch"` factors the last two axes, and its `eps` is no
            summand: it is a floor of the root of the second moment, and of the mean of its rows.
        layer_axis: where layers are stacked in one leaf, as in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which leaves, or layers, are sharded by hand
            along their first axis; their parts decide what is factored. None: parts are wholes.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `update_rms` (of a leaf's direction, the largest), `clip_ratio` (the
    smallest) and `clipped` (the fraction of leaves), see `funcopt.metrics`.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.adafactor(0.1, min_dim_size_to_factor=1)
    >>> params = jnp.ones((2, 3))
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> float(params[0, 0]), state.v_row.shape, state.v_col.shape
    (0.9..., (2, 1), (1, 3))

    Source: https://arxiv.org/abs/1804.04235, Algorithms 4 and 5.
    """
    rated = variant != "big_vision"
    rules = (
        FactoredRms(min_dim_size_to_factor, decay_rate, decay_offset, eps, factored, axis_name,
                    max_decay, pytorch=variant == "pytorch"),
        RelativeStep(clipping_threshold, multiply_by_parameter_scale, momentum, min_scale,
                     axis_name, rated),
        masked(mask, decaying(weight_decay)),
    )  # fmt: skip
    rate = relative_step if learning_rate is None else learning_rate
    kept = with_slot(storage, "ema", dtype_momentum)
    make = subtracted if rated else optimizer
    return make(*rules, learning_rate=rate, layer_axis=layer_axis, storage=kept)
