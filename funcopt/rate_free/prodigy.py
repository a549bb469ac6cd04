"""Prodigy: Adam whose rate is an estimate of the distance to the solution.

    η_t = d_t learning_rate c_t            c_t = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
    r ← β₃ r + (d/d₀) η ⟨g, x_0 − x⟩       what the way so far has earned
    s ← β₃ s + (d/d₀) η g
    m ← β₁ m + (1 − β₁) d g
    v ← β₂ v + (1 − β₂) d² |g|²
    d̂ = coefficient r / ‖s‖₁               d_{t+1} = max(d_t, d̂), growing at most by growth_rate
    x ← x − η ( m / (√v + d_{t+1} eps) + λ x )

Mishchenko & Defazio, 2023 (https://arxiv.org/abs/2306.06101), the Adam version, with the
discounts β₃ = √β₂ and the factor d/d₀, which keeps small numbers from underflowing.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import (
    AxisName,
    DecayRate,
    Flag,
    NonNegative,
    OptionalDecayRate,
    Positive,
    Rate,
)
from ..core.paper import ICML, Paper
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
from ..math.columns import Column, axpy, minus, scaled
from ..math.moments import abs_sq, ema
from ..math.safe import safe_divide
from ..optimizers.moment_slots import mean_square
from ..transforms.decay_kinds import DecoupledDecay
from ..transforms.decay_rules import own_and_other
from .estimate import Betas, FoundRateDecay, GrowthRate, WideStorage, adam_correction, grown


class ProdigySlots(NamedTuple):
    mu: SignedColumn
    nu: AccumulatorColumn
    grad_sum: ExactColumn
    init_params: ExactColumn


class ProdigyNumbers(NamedTuple):
    """`lr` is the rate in force, d times the learning rate; `d_max` the largest estimate so far."""

    lr: Reported
    d: Reported
    d_max: Number
    numerator: Number


@tree_rule(slots=ProdigySlots, numbers=ProdigyNumbers)
class Prodigy(TreeRule):
    learning_rate: NonNegative
    b1: DecayRate
    b2: DecayRate
    beta3: OptionalDecayRate
    eps: Positive
    estim_lr0: Positive
    estim_lr_coef: Positive
    weight_decay: NonNegative
    safeguard_warmup: bool
    mask: Mask
    bias_correction: bool
    growth_rate: GrowthRate
    axis_name: AxisName

    decays_by = "decoupled"

    def init(self, x: Column, start: Start):
        d0 = start.number(self.estim_lr0)
        slots = ProdigySlots(start.zeros(x), start.magnitudes(x), start.zeros(x), x)
        return slots, ProdigyNumbers(d0 * self.learning_rate, d0, d0, start.number(0))

    def update(self, g: Column, slots: ProdigySlots, was: ProdigyNumbers, x: Column, step: Step):
        b1, b2, d, d0 = self.b1, self.b2, was.d, self.estim_lr0
        b3 = b2**0.5 if self.beta3 is None else self.beta3
        corrected = adam_correction(b1, b2, step.clock.t, step.real) if self.bias_correction else 1
        lr = d * self.learning_rate * corrected
        weight = d / d0 * (d if self.safeguard_warmup else lr)
        r = b3 * was.numerator + d / d0 * lr * step.vdot(g, minus(slots.init_params, x))
        slots = step.renew(
            slots,
            mu=[ema(a, d * b, b1) for a, b in zip(slots.mu, g, strict=True)],
            nu=[ema(a, abs_sq(d * b), b2) for a, b in zip(slots.nu, g, strict=True)],
            grad_sum=[b3 * a + weight * b for a, b in zip(slots.grad_sum, g, strict=True)],
        )
        d_hat = self.estim_lr_coef * safe_divide(r, step.abs_sum(slots.grad_sum))
        d_max = jnp.maximum(was.d_max, d_hat)
        # The authors let the first rise through whatever growth_rate says.
        start = jnp.where(d == d0, jnp.maximum(d, d_hat), d)
        d = jnp.minimum(d_max, grown(start, self.growth_rate))
        u = [a / (jnp.sqrt(b) + d * self.eps) for a, b in zip(slots.mu, slots.nu, strict=True)]
        u = axpy(1, u, step.decay(self.weight_decay, self.mask))
        return scaled(-lr, u), slots, ProdigyNumbers(lr, d, d_max, r)

    def divides_by(self, numbers: ProdigyNumbers) -> Divisor:
        # The squares are of d g, and grow with d.
        return Divisor(mean_square, self.b2, numbers.d * self.eps, forgets=False)


PRODIGY = Paper(
    "Mishchenko, Konstantin and Defazio, Aaron",
    "Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
    2024,
    "https://arxiv.org/abs/2306.06101",
    booktitle=ICML,
)


@transformation(paper=PRODIGY)
def prodigy(
    learning_rate: Rate = 1.0,
    betas: Betas = (0.9, 0.999),
    beta3: OptionalDecayRate = None,
    eps: Positive = 1e-8,
    estim_lr0: Positive = 1e-6,
    estim_lr_coef: Positive = 1.0,
    weight_decay: FoundRateDecay = 0.0,
    safeguard_warmup: Flag = False,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: WideStorage = None,
):
    """Prodigy: Adam that estimates its learning rate d, the distance from start to solution.

    Args:
        learning_rate: a factor of d, at least 0; leave it at 1, or give a schedule that falls
            from 1 (the authors suggest a cosine).
        betas: decay rates of the means of gradients and of squares, in [0, 1).
        beta3: decay rate of the sums that estimate d, in [0, 1); None means the root of the
            second of `betas`.
        eps: above 0, times d added to the root.
        estim_lr0: the first d, an underestimate.
        estim_lr_coef: a factor of every estimate, usually between 0.5 and 2.
        weight_decay: times the parameter and the rate, as in AdamW; or one of `funcopt.decays`, but
            for `corrected`, since the largest rate is not known before.
        safeguard_warmup: take the learning rate out of the denominator of the estimate; True is
            suggested with a warm-up.
        mask: which parameters decay, as in `add_decayed_weights`.
        bias_correction: multiply the rate by Adam's bias correction. optax always does, the
            authors do only when asked.
        growth_rate: at least 1, the most by which d grows in one step, the first rise aside.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`: `"bfloat16"` is for the
            mean of gradients, sums and the starting point are kept in full. float16 does not
            reach down to the first steps and is refused.

    `funcopt.metrics` has the rate in force as `lr`, and `d`: it should rise quickly, then stay.
    Slots: mean, mean square, sum of gradients, starting point, float32 for half-precision
    parameters. In bfloat16 parameters the first steps, of size d, may round away and nothing is
    learnt about the distance: give a larger `estim_lr0`, or keep the parameters in float32.

    As long as no gradient and no rate was above 0, the estimate is left alone: a schedule from 0
    and zero gradients are fine, where optax (0.2.8) divides zero by zero. At a later rate of 0
    the authors' code keeps everything as it is, this goes on averaging. Their `slice_p`, which
    thins out two slots, is left out.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.prodigy(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> float(funcopt.metrics(state)["d"]) > 0.1
    True

    Source: https://arxiv.org/abs/2306.06101, and https://github.com/konstmish/prodigy.
    """
    b1, b2 = betas
    own, other = own_and_other(weight_decay, DecoupledDecay)
    rule = Prodigy(
        learning_rate, b1, b2, beta3, eps, estim_lr0, estim_lr_coef, own,
        safeguard_warmup, mask, bias_correction, growth_rate, axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage, decay=other)
