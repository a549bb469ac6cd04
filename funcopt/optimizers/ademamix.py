"""AdEMAMix: Adam with a second mean of gradients that remembers tens of thousands of steps.

    x ← x − learning_rate (u + weight_decay x)      u as in `scale_by_ademamix`

Pagliardini, Ablin & Grangier, 2025, Algorithm 1 (https://arxiv.org/abs/2409.03137).
"""

from ..core.arguments import DecayRate, DType, NonNegative, OptionalSteps, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_ademamix import ADEMAMIX, Ademamix, means_in


@transformation(paper=ADEMAMIX)
def ademamix(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    b3: DecayRate = 0.9999,
    alpha: NonNegative = 5.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    warmup_steps: OptionalSteps = None,
    storage: Storage = None,
):
    """AdEMAMix: Adam with a fast and a slow mean of gradients; with alpha = 0 it is AdamW.

    For long trainings: gradients help for tens of thousands of steps, and are forgotten late.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the fast mean, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        b3: decay of the slow mean, in [0, 1).
        alpha: how many times the slow mean counts, at least 0; 5 to 8 in the paper.
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        mu_dtype: the dtype in which both means are kept, None for the dtype of the arithmetic.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        warmup_steps: in how many steps `alpha` and `b3` come to their ends; None for no warm-up.
            The paper takes all steps of the training, without which large rates diverge early.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.ademamix(0.1, warmup_steps=1000), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.8999...], dtype=float32)

    Source: https://arxiv.org/abs/2409.03137, Algorithm 1.
    """
    return optimizer(
        Ademamix(b1, b2, b3, alpha, eps, eps_root, warmup_steps),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=means_in(mu_dtype, storage),
    )
