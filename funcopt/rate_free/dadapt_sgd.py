"""SGD with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    λ = d learning_rate / ‖g_0‖
    n ← n + λ ⟨g, s⟩                     how far the gradients have agreed
    s ← s + λ g
    d̂ = 2 n / ‖s‖                        d ← max(d, d̂), growing at most by growth_rate
    x ← momentum x + (1 − momentum) (x_0 − s)

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 4, in the form of the
authors' code.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive, Rate
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import ExactColumn, Number, Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, axpy
from ..math.safe import safe_divide
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .estimate import D_ADAPTATION, GrowthRate, SummedDecay, raised, towards


class DAdaptSgdSlots(NamedTuple):
    grad_sum: ExactColumn
    init_params: ExactColumn


class DAdaptSgdNumbers(NamedTuple):
    """`lr` is the rate in force, `grad_norm` that of the first gradient that was not zero."""

    lr: Reported
    d: Reported
    grad_norm: Number
    numerator: Number


@tree_rule(slots=DAdaptSgdSlots, numbers=DAdaptSgdNumbers)
class DAdaptSgd(TreeRule):
    learning_rate: NonNegative
    momentum: DecayRate
    estim_lr0: Positive
    weight_decay: NonNegative
    growth_rate: GrowthRate
    mask: Mask
    axis_name: AxisName

    decays_by = "l2"

    def init(self, x: Column, start: Start):
        numbers = DAdaptSgdNumbers(*map(start.number, (0, self.estim_lr0, 0, 0)))
        return DAdaptSgdSlots(start.zeros(x), x), numbers

    def update(
        self, g: Column, slots: DAdaptSgdSlots, was: DAdaptSgdNumbers, x: Column, step: Step
    ):
        g0 = jnp.where(was.grad_norm > 0, was.grad_norm, step.norm(g))
        g = axpy(1, g, step.decay(self.weight_decay, self.mask))
        lr = safe_divide(was.d * self.learning_rate, g0)
        n = was.numerator + lr * step.vdot(g, slots.grad_sum)
        slots = step.renew(slots, grad_sum=axpy(lr, g, slots.grad_sum))
        d = raised(was.d, 2 * safe_divide(n, step.norm(slots.grad_sum)), self.growth_rate)
        u = towards(x, slots.init_params, slots.grad_sum, self.momentum)
        return u, slots, DAdaptSgdNumbers(lr, d, g0, n)


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
