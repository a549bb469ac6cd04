"""AdaGrad with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    λ = d learning_rate
    s ← s + λ g                          a ← a + |g|²
    n ← n + λ² Σ |g|² / (√a + eps)
    d̂ = (Σ |s|² / (√a + eps) − n) / ‖s‖₁
    d ← max(d, d̂), growing at most by growth_rate
    x ← momentum x + (1 − momentum) (x_0 − s / (√a + eps))

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 3, in the form of the
authors' code.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.tree_rule import (
    AccumulatorColumn,
    ExactColumn,
    Number,
    Reported,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy
from ..math.moments import abs_sq
from ..math.norm import squarable
from ..math.safe import safe_divide
from ..optimizers.adagrad import sum_of_squares
from .estimate import GrowthRate, raised, towards


class DAdaptAdagradSlots(NamedTuple):
    grad_sum: ExactColumn
    sum_of_squares: AccumulatorColumn
    init_params: ExactColumn


class DAdaptAdagradNumbers(NamedTuple):
    """`lr` is the rate in force, a factor of what AdaGrad's denominators leave."""

    lr: Reported
    d: Reported
    numerator: Number


@tree_rule(slots=DAdaptAdagradSlots, numbers=DAdaptAdagradNumbers)
class DAdaptAdagrad(TreeRule):
    learning_rate: NonNegative
    momentum: DecayRate
    initial_accumulator_value: NonNegative
    eps: Positive
    estim_lr0: Positive
    weight_decay: NonNegative
    growth_rate: GrowthRate
    mask: Mask
    axis_name: AxisName

    decays_by = "l2"

    def init(self, x: Column, start: Start):
        d = start.number(self.estim_lr0)
        squares = [each + self.initial_accumulator_value for each in start.magnitudes(x)]
        slots = DAdaptAdagradSlots(start.zeros(x), squares, x)
        return slots, DAdaptAdagradNumbers(d * self.learning_rate, d, start.number(0))

    def update(
        self, g: Column, slots: DAdaptAdagradSlots, was: DAdaptAdagradNumbers, x: Column, step: Step
    ):
        g = axpy(1, g, step.decay(self.weight_decay, self.mask))
        g = [squarable(each) for each in g]
        lr = was.d * self.learning_rate
        slots = step.renew(
            slots,
            sum_of_squares=axpy(1, [abs_sq(each) for each in g], slots.sum_of_squares),
            grad_sum=axpy(lr, g, slots.grad_sum),
        )
        root = [jnp.sqrt(each) + self.eps for each in slots.sum_of_squares]
        s = slots.grad_sum
        n = was.numerator + lr**2 * step.abs_sum(_squares_over(root, g))
        d_hat = safe_divide(step.abs_sum(_squares_over(root, s)) - n, step.abs_sum(s))
        # A step of rate 0 proves nothing.
        d_hat = jnp.where(lr > 0, d_hat, was.d)
        d = raised(was.d, d_hat, self.growth_rate)
        s = [a / b for a, b in zip(s, root, strict=True)]
        u = towards(x, slots.init_params, s, self.momentum)
        return u, slots, DAdaptAdagradNumbers(lr, d, n)

    def divides_by(self, numbers: DAdaptAdagradNumbers) -> Divisor:
        del numbers  # it is all in the hyperparameters
        return Divisor(sum_of_squares, None, self.eps, forgets=False)


def _squares_over(roots: Column, xs: Column) -> Column:
    return [abs_sq(x) / root for x, root in zip(xs, roots, strict=True)]
