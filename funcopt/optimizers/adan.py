"""Adan: Nesterov momentum for adaptive steps, by the difference of successive gradients.

    x ← (x − learning_rate u) / (1 + learning_rate weight_decay)      u as in `scale_by_adan`

Xie et al., 2022, Algorithm 1 (https://arxiv.org/abs/2208.06677). In optax 0.2.8 u is another one,
and the decay is AdamW's: `variant="optax"`.
"""

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from ..transforms.decay_rules import WeightDecay, decaying
from ..transforms.step_aware_decays import ProximalDecay
from .scale_by_adan import ADAN, Adan, Variant


@transformation(paper=ADAN)
def adan(
    learning_rate: Rate,
    b1: DecayRate = 0.98,
    b2: DecayRate = 0.92,
    b3: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    variant: Variant = "paper",
    storage: Storage = None,
):
    """Adan: adaptive steps with Nesterov momentum, by the difference of successive gradients.

    Four slots for each parameter, twice as many as Adam.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule. The
            authors take up to five to ten times AdamW's.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean difference, in [0, 1), and how far it looks ahead.
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0; optax's default is 1e-8.
        weight_decay: at least 0, or one of `funcopt.decays`; the paper's is 0.02. A number divides
            parameters by 1 + learning_rate · weight_decay after the step; in the variant of optax
            it is AdamW's.
        mask: which parameters decay, see `add_decayed_weights`.
        variant: "paper", or "optax" for the equations of optax 0.2.8.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adan(0.1), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.9], dtype=float32)

    Source: https://arxiv.org/abs/2208.06677, Algorithm 1.
    """
    decay = decaying(weight_decay, ProximalDecay if variant == "paper" else Decay)
    return optimizer(
        Adan(b1, b2, b3, eps, eps_root, variant),
        masked(mask, decay),
        learning_rate=learning_rate,
        storage=storage,
    )
