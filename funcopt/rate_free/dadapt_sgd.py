"""SGD with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    x ← x + u      u as in `dadapt_sgd_step`

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 4.
"""

import math

from ..core.arguments import AxisName, DecayRate, Positive, Rate
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .dadapt_sgd_step import DAdaptSgd
from .estimate import D_ADAPTATION, GrowthRate, SummedDecay


@transformation(paper=D_ADAPTATION)
def dadapt_sgd(
    learning_rate: Rate = 1.0,
    momentum: DecayRate = 0.0,
    estim_lr0: Positive = 1e-6,
    weight_decay: SummedDecay = 0.0,
    *,
    mask: Mask = None,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """SGD with D-Adaptation, which estimates the learning rate.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        momentum: in [0, 1), by primal averaging: x ← momentum x + (1 − momentum) z.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do). There is
            no other: parameters are where the sum of gradients has led to, whatever was decayed.
        mask: which parameters decay, as in `add_decayed_weights`.
        growth_rate: at least 1, the most by which d grows in one step; 1.02 is suggested where
            training is unstable.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; a sum of gradients and the
            starting point are kept in full.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: the weighted sum of gradients
    and the starting point.

    The first gradient's norm scales all rates; it is taken without decay, as the authors' code
    does. Where that gradient is zero, their code divides by zero; here the first one that is not
    zero takes its place. Their code stops at a first rate of 0, this waits.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_sgd(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 4, and
    https://github.com/facebookresearch/dadaptation.
    """
    own, _ = own_and_other(weight_decay, L2Decay)
    rule = DAdaptSgd(learning_rate, momentum, estim_lr0, own, growth_rate, mask, axis_name)
    return LiftedTree(rule, storage)
