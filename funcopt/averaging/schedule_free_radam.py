"""Schedule-free RAdam.

    ν ← β₂ ν + (1 − β₂) |g|²     of gradients at y, within `schedule_free`
    ρ_∞ = 2 / (1 − β₂) − 1
    ρ_t = ρ_∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
    η_t = learning_rate √( (ρ_t − 4)(ρ_t − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ_t) ), 0 while ρ_t ≤ 4
    z ← z − η_t ( g / (√(ν / (1 − β₂ᵗ)) + eps) + λ y )

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682); Liu et al., 2020
(https://arxiv.org/abs/1908.03265), algorithm 2.
"""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import (
    Constant,
    DType,
    NonNegative,
    Numeric,
    OpenDecayRate,
    OptionalSteps,
    Positive,
    Rate,
    Within,
)
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.schedule import product, schedule
from ..core.transformation import transformation
from ..math.rectification import length, rectification
from ..optimizers.scale_by_rms import Rms
from ..storage import Storage, check_slots, part
from ..transforms.decay_rules import WeightDecay, decaying
from .primal import PrimalSlots
from .schedule_free import SCHEDULE_FREE
from .schedule_free_sgd import warmed_up
from .schedule_free_step import ScheduleFree, made_schedule_free


@schedule
def rectified(b2: Constant):
    """RAdam's factor of the rate; 0 until the variance of the mean square is tractable."""

    def factor(step: Array) -> Array:
        return rectification(b2, length(b2, jnp.asarray(step, float) + 1))

    return factor


@transformation(paper=SCHEDULE_FREE)
def schedule_free_radam(
    learning_rate: Rate = 0.0025,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    b2: Annotated[Numeric, Within(0.6, 1, "()", schedule=False)] = 0.999,
    eps: Positive = 1e-8,
    weight_decay: WeightDecay = 0.0,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
    storage: Storage = None,
):
    """Schedule-free RAdam: schedule-free AdamW whose warm-up follows from `b2`.

    The rate is multiplied by RAdam's rectification, which is 0 in the first steps (the authors'
    `silent_sgd_phase`) and rises to 1 within about 2 / (1 − b2) steps.

    Args:
        learning_rate: at least 0, or a schedule without decay.
        warmup_steps: a linear warm-up on top; None, as the authors have it, is none.
        b1: in (0, 1): how much of the average is in the parameters.
        b2: decay rate of the mean square, in (0.6, 1): below, there is nothing to rectify.
        eps: above 0, added to the root.
        weight_decay: times the parameters in training (y) and the rate; or one of
            `funcopt.decays`.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        mask: which parameters decay, as in `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> tx = funcopt.schedule_free_radam(0.01)
    >>> float(funcopt.current_lr(tx.init({"w": 0.0})))
    0.0

    Source: https://arxiv.org/abs/2405.15682, https://arxiv.org/abs/1908.03265 and
    https://github.com/facebookresearch/schedule_free.
    """
    rate = product(warmed_up(learning_rate, warmup_steps), rectified(b2))
    check_slots(storage, [PrimalSlots, Rms.slots])
    base = optimizer(
        Rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        masked(mask, decaying(weight_decay)),
        learning_rate=rate,
        storage=part(storage, Rms.slots),
    )
    rule = ScheduleFree(None, b1, weight_lr_power, mask)
    return made_schedule_free(base, rule, state_dtype, part(storage, PrimalSlots))
