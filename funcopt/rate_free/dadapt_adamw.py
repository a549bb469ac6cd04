"""AdamW with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    x ← x + u      u as in `dadapt_adamw_step`

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 5.
"""

import math

from ..core.arguments import AxisName, Flag, Positive, Rate
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..transforms.decay_kinds import DecoupledDecay
from ..transforms.decay_rules import own_and_other
from .dadapt_adamw_step import DAdaptAdamw
from .estimate import D_ADAPTATION, Betas, FoundRateDecay, GrowthRate, WideStorage


@transformation(paper=D_ADAPTATION)
def dadapt_adamw(
    learning_rate: Rate = 1.0,
    betas: Betas = (0.9, 0.999),
    eps: Positive = 1e-8,
    estim_lr0: Positive = 1e-6,
    weight_decay: FoundRateDecay = 0.0,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: WideStorage = None,
):
    """AdamW with D-Adaptation, which estimates the learning rate. `prodigy` is faster at it.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        betas: decay rates of the means of gradients and of squares, in [0, 1).
        eps: above 0, added to the root.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter and the rate, as in AdamW (the authors' `decouple`); or
            one of `funcopt.decays`, but for `corrected`: the largest rate is not known before.
        mask: which parameters decay, as in `add_decayed_weights`.
        bias_correction: multiply the rate by Adam's bias correction. optax always does, the
            authors do only when asked.
        growth_rate: at least 1, the most by which d grows in one step; 1.02 is suggested where
            training is unstable.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`: `"bfloat16"` is for the
            mean of gradients, sums and squares are kept in full. float16 does not reach down
            to the first steps and is refused.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: mean, mean square and weighted
    sum of gradients. As long as all gradients or all rates were 0 the estimate is left alone,
    where optax (0.2.8) divides zero by zero.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_adamw(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(400):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 5, and
    https://github.com/facebookresearch/dadaptation.
    """
    b1, b2 = betas
    own, other = own_and_other(weight_decay, DecoupledDecay)
    rule = DAdaptAdamw(
        learning_rate, b1, b2, eps, estim_lr0, own, growth_rate, mask, bias_correction,
        axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage, decay=other)
