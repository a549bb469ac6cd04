"""NadamW: Nadam with decoupled weight decay.

Dozat, 2016 (https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ); Loshchilov & Hutter,
2019 (https://arxiv.org/abs/1711.05101).
"""

from ..core.arguments import DecayRate, DType, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .nadam import NADAM, Nadam, Variant


@transformation(paper=NADAM)
def nadamw(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask = None,
    *,
    variant: Variant = "dozat",
    momentum_decay: NonNegative = 0.004,
    storage: Storage = None,
):
    """NadamW: Nadam with decoupled weight decay.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps, eps_root, mu_dtype, variant, momentum_decay, storage: as in `nadam`.
        weight_decay, mask: as in `adamw`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt
    >>> funcopt.nadamw(1.75e-3, b1=0.93, b2=0.9955, weight_decay=0.08, variant="init2winit")
    nadamw(learning_rate=0.00175, b1=0.93, b2=0.9955, weight_decay=0.08, variant='init2winit')

    Source: as `nadam`; https://arxiv.org/abs/1711.05101 for the decay.
    """
    return optimizer(
        Nadam(b1, b2, eps, eps_root, variant, momentum_decay),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
