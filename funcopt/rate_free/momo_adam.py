"""MoMo-Adam: Adam whose rate follows from a model of the loss.

    f̄ ← β₁ f̄ + (1 − β₁) f(x)                     averages over past batches of the loss,
    γ ← β₁ γ + (1 − β₁) ⟨g, x⟩                    of where its linear model was taken,
    m ← β₁ m + (1 − β₁) g                         and of its slope
    v ← β₂ v + (1 − β₂) |g|²
    D = √(v / (1 − β₂ᵗ)) + eps                    ρ = 1 − β₁ᵗ
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / Σ |m|²/D )
    x ← (x − τ m/D) / (1 + αλ)

A lower bound f* that is not known is estimated as in MoMo, with Σ |m|²/D in place of ‖m‖², and a
mask acts as it does there.

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Positive, Rate, Real
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import AccumulatorColumn, SignedColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..math.moments import abs_sq, bias_correction, ema
from ..optimizers.moment_slots import mean_square
from ..storage import Storage
from ..transforms.decay_kinds import ProximalDecay
from ..transforms.decay_rules import own_and_other
from .loss_model import MOMO, LossModel, ModelDecay, MomoNumbers, proximal_step, weighted_sums


class MomoAdamSlots(NamedTuple):
    mu: SignedColumn
    nu: AccumulatorColumn


@tree_rule(slots=MomoAdamSlots, numbers=MomoNumbers, needs_value=True)
class MomoAdam(TreeRule):
    learning_rate: NonNegative
    b1: DecayRate
    b2: DecayRate
    eps: Positive
    lower_bound: Real
    weight_decay: NonNegative
    mask: Mask
    adapt_lower_bound: bool
    axis_name: AxisName

    decays_by = "proximal"

    def init(self, x: Column, start: Start):
        numbers = map(start.number, (self.learning_rate, 0, 0, self.lower_bound))
        return MomoAdamSlots(start.zeros(x), start.magnitudes(x)), MomoNumbers(*numbers)

    def update(self, g: Column, slots: MomoAdamSlots, was: MomoNumbers, x: Column, step: Step):
        b1, b2, t = self.b1, self.b2, step.clock.t
        rho, filled = bias_correction(b1, t, step.real), bias_correction(b2, t, step.real)
        slots = step.renew(
            slots,
            mu=[ema(a, b, b1) for a, b in zip(slots.mu, g, strict=True)],
            nu=[ema(a, abs_sq(b), b2) for a, b in zip(slots.nu, g, strict=True)],
        )
        m, D = slots.mu, [jnp.sqrt(v / filled) + self.eps for v in slots.nu]
        loss = ema(was.loss_average, step.value, b1)
        gamma = ema(was.gamma, step.vdot(g, x), b1)
        slope = step.vdot(m, x)
        squares = [abs_sq(a) / b for a, b in zip(m, D, strict=True)]
        square = step.abs_sum(squares)
        alpha, decay = self.learning_rate, self.weight_decay
        decays, sums = step.selected(self.mask), (slope, square)
        if not all(decays):
            sums = weighted_sums(step, m, x, squares, decays, 1 + alpha * decay)
        model = LossModel(alpha, decay, rho, loss, gamma, slope, square, *sums)
        tau, bound = model.solved(was.lower_bound, self.lower_bound, self.adapt_lower_bound)
        u = [a / b for a, b in zip(m, D, strict=True)]
        steps = proximal_step(x, u, decays, tau, alpha, decay)
        return steps, slots, MomoNumbers(tau, loss, gamma, bound)

    def divides_by(self, numbers: MomoNumbers) -> Divisor:
        del numbers  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps, corrected=True)


@transformation(paper=MOMO)
def momo_adam(
    learning_rate: Rate = 1e-2,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: Positive = 1e-8,
    lower_bound: Real = 0.0,
    weight_decay: ModelDecay = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    mask: Mask = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """MoMo-Adam: Adam at an adaptive Polyak step size. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a larger one than Adam's.
        b1: decay rate of the averages of gradients and of the loss, in [0, 1).
        b2: decay rate of the mean square, in [0, 1).
        eps: above 0, added to the root.
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖² in the norm of the step, taken as a proximal step, as in
            `momo`.
        mask: which parameters decay, as in `add_decayed_weights`.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, which is that of Adam's uncorrected mean, and
    `lower_bound`. With weight decay the whole step is divided by 1 + αλ, as in the paper and the
    authors' code; optax (0.2.8) divides only the decay.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo_adam(1.0), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    own, _ = own_and_other(weight_decay, ProximalDecay)
    rule = MomoAdam(
        learning_rate, b1, b2, eps, lower_bound, own, mask, adapt_lower_bound, axis_name
    )
    return LiftedTree(rule, storage)
