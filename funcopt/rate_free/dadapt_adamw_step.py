"""AdamW with D-Adaptation: its rate is d, a lower bound of the distance to the solution.

    η = d learning_rate c                c = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
    n ← √β₂ n + (1 − √β₂) η ⟨g, s / (√v + eps)⟩
    m ← β₁ m + (1 − β₁) η g              v ← β₂ v + (1 − β₂) |g|²
    s ← √β₂ s + (1 − √β₂) η g
    d̂ = n / ((1 − √β₂) ‖s‖₁)             d ← max(d, d̂), growing at most by growth_rate
    x ← x − m / (√v + eps) − η λ x

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 5, in the form of the
authors' code.
"""

from typing import NamedTuple

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.tree_rule import (
    AccumulatorColumn,
    ExactColumn,
    Number,
    Reported,
    SignedColumn,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, divided_by_roots, emas
from ..math.moments import abs_sq
from ..math.safe import safe_divide
from ..optimizers.moment_slots import mean_square
from .estimate import GrowthRate, adam_correction, raised


class DAdaptAdamSlots(NamedTuple):
    mu: SignedColumn
    nu: AccumulatorColumn
    grad_sum: ExactColumn


class DAdaptAdamNumbers(NamedTuple):
    """`lr` is the rate in force."""

    lr: Reported
    d: Reported
    numerator: Number


@tree_rule(slots=DAdaptAdamSlots, numbers=DAdaptAdamNumbers)
class DAdaptAdamw(TreeRule):
    learning_rate: NonNegative
    b1: DecayRate
    b2: DecayRate
    eps: Positive
    estim_lr0: Positive
    weight_decay: NonNegative
    growth_rate: GrowthRate
    mask: Mask
    bias_correction: bool
    axis_name: AxisName

    decays_by = "decoupled"

    def init(self, x: Column, start: Start):
        d = start.number(self.estim_lr0)
        slots = DAdaptAdamSlots(start.zeros(x), start.magnitudes(x), start.zeros(x))
        return slots, DAdaptAdamNumbers(d * self.learning_rate, d, start.number(0))

    def update(
        self, g: Column, slots: DAdaptAdamSlots, was: DAdaptAdamNumbers, x: Column, step: Step
    ):
        del x  # decay is all that looks at parameters
        b1, b2, root_b2 = self.b1, self.b2, self.b2**0.5
        fresh = (1 - b2) / (1 + root_b2)  # 1 − √β₂, of which a difference leaves few digits
        corrected = adam_correction(b1, b2, step.clock.t, step.real) if self.bias_correction else 1
        lr = was.d * self.learning_rate * corrected
        s = divided_by_roots(slots.grad_sum, slots.nu, self.eps)
        n = root_b2 * was.numerator + fresh * lr * step.vdot(g, s)
        slots = step.renew(
            slots,
            mu=emas(slots.mu, [lr * each for each in g], b1),
            nu=emas(slots.nu, [abs_sq(each) for each in g], b2),
            grad_sum=[root_b2 * a + fresh * lr * b for a, b in zip(slots.grad_sum, g, strict=True)],
        )
        d_hat = safe_divide(n, fresh * step.abs_sum(slots.grad_sum))
        d = raised(was.d, d_hat, self.growth_rate)
        u = divided_by_roots(slots.mu, slots.nu, self.eps)
        u = axpy(lr, step.decay(self.weight_decay, self.mask), u)
        return [-each for each in u], slots, DAdaptAdamNumbers(lr, d, n)

    def divides_by(self, numbers: DAdaptAdamNumbers) -> Divisor:
        del numbers  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps)
