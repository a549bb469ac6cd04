"""Schedule-free AdamW.

    ν ← β₂ ν + (1 − β₂) |g|²     of gradients at y, within `schedule_free`
    z ← z − η_t ( g / (√(ν / (1 − β₂ᵗ)) + eps) + λ y )
    η_t = learning_rate min(1, t / warmup_steps)

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), algorithm 1.
"""

from ..core.arguments import DecayRate, DType, NonNegative, OpenDecayRate, OptionalSteps, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..optimizers.scale_by_rms import Rms
from ..storage import Storage, check_slots, part
from ..transforms.decay_rules import WeightDecay, decaying
from .primal import PrimalSlots
from .schedule_free import SCHEDULE_FREE
from .schedule_free_sgd import warmed_up
from .schedule_free_step import ScheduleFree, made_schedule_free


@transformation(paper=SCHEDULE_FREE)
def schedule_free_adamw(
    learning_rate: Rate = 0.0025,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 0.0,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
    storage: Storage = None,
):
    """Schedule-free AdamW: as much memory as AdamW, no decay of the rate, hence no end to plan.

    Args:
        learning_rate: at least 0, or a schedule without decay; one to ten times AdamW's.
        warmup_steps: the rate rises linearly to its value within so many steps, which the
            authors consider necessary; None does not warm up. The first rate is a fraction
            1 / warmup_steps, as the authors have it, where optax begins with 0.
        b1: in (0, 1): how much of the average is in the parameters; takes the place of Adam's b1.
        b2: decay rate of the mean square, in [0, 1).
        eps: at least 0, added to the root.
        weight_decay: times the parameters in training (y) and the rate; or one of
            `funcopt.decays`.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        mask: which parameters decay, as in `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> funcopt.schedule_free_adamw(0.01, warmup_steps=100, weight_decay=0.1)
    schedule_free_adamw(learning_rate=0.01, warmup_steps=100, weight_decay=0.1)

    Source: https://arxiv.org/abs/2405.15682, algorithm 1, and
    https://github.com/facebookresearch/schedule_free.
    """
    check_slots(storage, [PrimalSlots, Rms.slots])
    base = optimizer(
        Rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        masked(mask, decaying(weight_decay)),
        learning_rate=warmed_up(learning_rate, warmup_steps),
        storage=part(storage, Rms.slots),
    )
    rule = ScheduleFree(None, b1, weight_lr_power, mask)
    return made_schedule_free(base, rule, state_dtype, part(storage, PrimalSlots))
