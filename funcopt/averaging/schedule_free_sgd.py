"""Schedule-free SGD, and the warm-up that schedule-free optimizers share.

    z ← z − η_t (g + λ y)        at y, where gradients are taken, within `schedule_free`
    η_t = learning_rate min(1, t / warmup_steps)

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), eqs. 4 to 6.
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import (
    DType,
    NonNegative,
    OpenDecayRate,
    OptionalSteps,
    Rate,
    Steps,
)
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.schedule import product, schedule
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import OptionalWeightDecay, decaying
from .schedule_free import SCHEDULE_FREE
from .schedule_free_step import ScheduleFree, made_schedule_free


@schedule
def warmed(warmup_steps: Steps):
    """The authors' warm-up: (step + 1) / warmup_steps, then 1. Its first rate is not 0."""

    def factor(step: Array) -> Array:
        done = jnp.asarray(step, float) + 1
        return jnp.minimum(done / jnp.asarray(warmup_steps, float), 1.0)

    return factor


def warmed_up(learning_rate: Rate, warmup_steps: OptionalSteps) -> Rate:
    return learning_rate if warmup_steps is None else product(learning_rate, warmed(warmup_steps))


@transformation(paper=SCHEDULE_FREE)
def schedule_free_sgd(
    learning_rate: Rate = 1.0,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    weight_decay: OptionalWeightDecay = None,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
    storage: Storage = None,
):
    """Schedule-free SGD.

    Args:
        learning_rate: at least 0, or a schedule without decay; ten times that of SGD with
            momentum or more is usual.
        warmup_steps: the rate rises linearly to its value within so many steps; None does not
            warm up. The first rate is a fraction 1 / warmup_steps, as the authors have it, where
            optax begins with 0.
        b1: in (0, 1): how much of the average is in the parameters.
        weight_decay: times the parameters in training (y), added to the gradient; or one of
            `funcopt.decays`; None is none.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        mask: which parameters decay, as in `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> funcopt.schedule_free_sgd(5.0, warmup_steps=100)
    schedule_free_sgd(learning_rate=5.0, warmup_steps=100)

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    decay = ()
    if weight_decay is not None or mask is not None:  # a mask is looked at without decay, too
        decay = (masked(mask, decaying(0.0 if weight_decay is None else weight_decay)),)
    base = optimizer(*decay, learning_rate=warmed_up(learning_rate, warmup_steps))
    rule = ScheduleFree(None, b1, weight_lr_power, mask)
    return made_schedule_free(base, rule, state_dtype, storage)
