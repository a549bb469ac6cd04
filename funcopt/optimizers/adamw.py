"""AdamW: Adam with a weight decay that is apart from the gradient.

    x ← x − learning_rate (u + weight_decay x)      u as in Adam

Loshchilov & Hutter, 2019, Algorithm 2 (https://arxiv.org/abs/1711.05101), who multiply the decay by
the factor of the schedule alone; here, as in practice, it is multiplied by the whole rate.
"""

from ..core.arguments import DecayRate, DType, Flag, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import ICLR, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_adam import adam_rule

ADAMW = Paper(
    "Loshchilov, Ilya and Hutter, Frank",
    "Decoupled Weight Decay Regularization",
    2019,
    "https://arxiv.org/abs/1711.05101",
    booktitle=ICLR,
)


@transformation(paper=ADAMW)
def adamw(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask = None,
    *,
    nesterov: Flag = False,
    atan2: Flag = False,
    storage: Storage = None,
):
    """AdamW: Adam with decoupled weight decay, the usual choice for transformers.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule. It
            multiplies the decay too.
        b1, b2, eps, eps_root, mu_dtype, nesterov, atan2, storage: as in `adam`.
        weight_decay: at least 0, or one of `funcopt.decays`, such as `decays.cautious(0.1)`. The
            default is optax's; PyTorch's is 0.01.
        mask: which parameters decay, see `add_decayed_weights`. Biases and scales usually do not:
            `mask="!bias|scale"`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt
    >>> funcopt.adamw(funcopt.cosine_decay_schedule(3e-4, 1000), weight_decay=0.1, mask="kernel")
    adamw(learning_rate=cosine_decay_schedule(init_value=0.0003, decay_steps=1000), \
weight_decay=0.1, mask='kernel')

    Source: https://arxiv.org/abs/1711.05101, Algorithm 2.
    """
    return optimizer(
        adam_rule(b1, b2, eps, eps_root, nesterov, True, atan2),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
