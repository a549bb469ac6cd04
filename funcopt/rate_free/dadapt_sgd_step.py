"""SGD with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    λ = d learning_rate / ‖g_0‖
    n ← n + λ ⟨g, s⟩                     how far the gradients have agreed
    s ← s + λ g
    d̂ = 2 n / ‖s‖                        d ← max(d, d̂), growing at most by growth_rate
    x ← momentum x + (1 − momentum) (x_0 − s)

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 4, in the form of the
authors' code.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive
from ..core.paths import Mask
from ..core.tree_rule import ExactColumn, Number, Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, axpy
from ..math.safe import safe_divide
from .estimate import GrowthRate, raised, towards


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
