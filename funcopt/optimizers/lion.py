"""Lion: step by the sign of an interpolated momentum, every element equally far.

    u  = sign(b1 mu + (1 − b1) g)
    mu ← b2 mu + (1 − b2) g

Chen et al., 2023, Algorithm 2 (https://arxiv.org/abs/2302.06675).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, OpenDecayRate, Rate
from ..core.masked import masked
from ..core.optimizer import lift, optimizer
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import ema
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying


class LionSlots(NamedTuple):
    mu: Signed


@rule(acts_on="element", slots=LionSlots, decay_of={"mu": "b2"})
class Lion(Rule):
    b1: DecayRate = 0.9
    b2: OpenDecayRate = 0.99

    def init(self, param: Inexact[Array, "*p"]) -> LionSlots:
        return LionSlots(mu=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: LionSlots, param, clock: Clock):
        del param  # Lion looks only at gradients
        slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b2))
        # b2 (b1 mu + (1 − b1) g) written with the new mu, for Clock.renew's reason; same sign.
        return jnp.sign(self.b1 * slots.mu + (self.b2 - self.b1) * grad), slots


LION = Paper(
    "Chen, Xiangning and Liang, Chen and Huang, Da and Real, Esteban and Wang, Kaiyuan and "
    "Pham, Hieu and Dong, Xuanyi and Luong, Thang and Hsieh, Cho-Jui and Lu, Yifeng and Le, "
    "Quoc V.",
    "Symbolic Discovery of Optimization Algorithms",
    2023,
    "https://arxiv.org/abs/2302.06675",
    booktitle=NEURIPS,
)


@transformation(paper=LION)
def scale_by_lion(
    b1: DecayRate = 0.9,
    b2: OpenDecayRate = 0.99,
    mu_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Lion's direction, without the learning rate. Arguments as in `lion`.

    >>> import funcopt
    >>> funcopt.scale_by_lion(b2=0.98)
    scale_by_lion(b2=0.98)
    """
    return lift(Lion(b1, b2), storage=with_slot(storage, "mu", mu_dtype))


@transformation(paper=LION)
def lion(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: OpenDecayRate = 0.99,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 1e-3,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """Lion: step by the sign of an interpolated momentum; one slot. Wants large batches.

    Args:
        learning_rate: the length of a step in each element, at least 0; or a schedule. Three to
            ten times below what suits AdamW.
        b1: weight of the momentum in the direction, in [0, 1).
        b2: decay of the momentum, in (0, 1).
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`; three to ten
            times above what suits AdamW.
        mask: which parameters decay, see `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> params = jnp.array([1.0, -1.0, 0.0])
    >>> tx = funcopt.lion(0.1, weight_decay=0.0)
    >>> tx.update(jnp.array([5.0, -0.01, 0.0]), tx.init(params), params)[0]
    Array([-0.1,  0.1, -0. ], dtype=float32)

    Source: https://arxiv.org/abs/2302.06675, Algorithm 2.
    """
    return optimizer(
        Lion(b1, b2),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
