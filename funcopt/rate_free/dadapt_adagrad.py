"""AdaGrad with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    x ← x + u      u as in `dadapt_adagrad_step`

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 3.
"""

import math

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive, Rate
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .dadapt_adagrad_step import DAdaptAdagrad
from .estimate import D_ADAPTATION, GrowthRate, SummedDecay


@transformation(paper=D_ADAPTATION)
def dadapt_adagrad(
    learning_rate: Rate = 1.0,
    momentum: DecayRate = 0.0,
    initial_accumulator_value: NonNegative = 1e-6,
    eps: Positive = 1e-6,
    estim_lr0: Positive = 1e-6,
    weight_decay: SummedDecay = 0.0,
    *,
    mask: Mask = None,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """AdaGrad with D-Adaptation, which estimates the learning rate.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        momentum: in [0, 1), by primal averaging: x ← momentum x + (1 − momentum) z.
        initial_accumulator_value: what the sums of squares begin with, at least 0.
        eps: above 0, added to their roots.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do). There is
            no other: parameters are where the sum of gradients has led to, whatever was decayed.
        mask: which parameters decay, as in `add_decayed_weights`.
        growth_rate: at least 1, the most by which d grows in one step.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; sums and the starting
            point are kept in full.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: the weighted sum of gradients,
    the sum of squares and the starting point.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_adagrad(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 3, and
    https://github.com/facebookresearch/dadaptation.
    """
    own, _ = own_and_other(weight_decay, L2Decay)
    rule = DAdaptAdagrad(
        learning_rate, momentum, initial_accumulator_value, eps, estim_lr0, own,
        growth_rate, mask, axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage)
