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

import math
from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Positive, Rate
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
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
from ..math.columns import Column, axpy
from ..math.moments import abs_sq, ema
from ..math.safe import safe_divide
from ..optimizers.moment_slots import mean_square
from ..transforms.decay_kinds import DecoupledDecay
from ..transforms.decay_rules import own_and_other
from .estimate import (
    D_ADAPTATION,
    Betas,
    FoundRateDecay,
    GrowthRate,
    WideStorage,
    adam_correction,
    raised,
)


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
        s = [a / (jnp.sqrt(b) + self.eps) for a, b in zip(slots.grad_sum, slots.nu, strict=True)]
        n = root_b2 * was.numerator + fresh * lr * step.vdot(g, s)
        slots = step.renew(
            slots,
            mu=[ema(a, lr * b, b1) for a, b in zip(slots.mu, g, strict=True)],
            nu=[ema(a, abs_sq(b), b2) for a, b in zip(slots.nu, g, strict=True)],
            grad_sum=[root_b2 * a + fresh * lr * b for a, b in zip(slots.grad_sum, g, strict=True)],
        )
        d_hat = safe_divide(n, fresh * step.abs_sum(slots.grad_sum))
        d = raised(was.d, d_hat, self.growth_rate)
        u = [a / (jnp.sqrt(b) + self.eps) for a, b in zip(slots.mu, slots.nu, strict=True)]
        u = axpy(lr, step.decay(self.weight_decay, self.mask), u)
        return [-each for each in u], slots, DAdaptAdamNumbers(lr, d, n)

    def divides_by(self, numbers: DAdaptAdamNumbers) -> Divisor:
        del numbers  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps)


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
