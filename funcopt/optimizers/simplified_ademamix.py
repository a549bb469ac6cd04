"""Simplified AdEMAMix: AdEMAMix with one long sum of gradients, and the gradient of the step.

    x ← x − learning_rate (u + weight_decay x)      u as in `scale_by_simplified_ademamix`

Morwani, Vyas, Zhang & Kakade, 2025 (https://arxiv.org/abs/2502.02431).
"""

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_simplified_ademamix import SIMPLIFIED_ADEMAMIX, SimplifiedAdemamix


@transformation(paper=SIMPLIFIED_ADEMAMIX)
def simplified_ademamix(
    learning_rate: Rate,
    b1: DecayRate = 0.99,
    b2: DecayRate = 0.95,
    alpha: NonNegative = 0.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """Simplified AdEMAMix: AdEMAMix with the gradient in place of its fast mean; two slots.

    Args:
        learning_rate: at least 0, or a schedule. Steps grow to 1 / (1 − b1) times this: with the
            same `b1`, (1 − b1) times a rate for Adam.
        b1: decay of the sum of gradients, in [0, 1). The authors let it grow over the training from
            0.9: a schedule.
        b2: decay of the mean squared gradient, in [0, 1).
        alpha: how many times the gradient of the step counts beside the sum, at least 0. With 0
            it is Adam whose first moment is a sum.
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.simplified_ademamix(0.1, alpha=2.0), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.7], dtype=float32)

    Source: https://arxiv.org/abs/2502.02431.
    """
    return optimizer(
        SimplifiedAdemamix(b1, b2, alpha, eps, eps_root),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=storage,
    )
