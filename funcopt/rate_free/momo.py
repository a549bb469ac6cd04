"""MoMo: momentum whose rate follows from a model of the loss.

    f̄ ← β f̄ + (1 − β) f(x)                       averages over past batches of the loss,
    γ ← β γ + (1 − β) ⟨g, x⟩                      of where its linear model was taken,
    m ← β m + (1 − β) g                           and of its slope
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / ‖m‖² )
    x ← (x − τ m) / (1 + αλ)

Where a mask leaves elements without decay, these count 1 + αλ times in ⟨m, x⟩ and ‖m‖² of τ, and
x ← x − τ m there: the proximal step of the same model with a λ of each element's own.
With ρ = 1 where the averages begin with the first batch (the default), and ρ = 1 − βᵗ where they
begin with zero.

A lower bound f* that is not known is estimated: after each step
f* ← max( (f̄ + ⟨m, x⟩ − γ − ½ τ ‖m‖²) / ρ, lower_bound ), and it is halved towards what the model
allows before a step that it would forbid.

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Rate, Real
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import SignedColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..math.moments import abs_sq, bias_correction, ema
from ..storage import Storage
from ..transforms.decay_kinds import ProximalDecay
from ..transforms.decay_rules import own_and_other
from .loss_model import MOMO, LossModel, ModelDecay, MomoNumbers, proximal_step, weighted_sums


class MomoSlots(NamedTuple):
    mu: SignedColumn


@tree_rule(slots=MomoSlots, numbers=MomoNumbers, needs_value=True)
class Momo(TreeRule):
    learning_rate: NonNegative
    beta: DecayRate
    lower_bound: Real
    weight_decay: NonNegative
    mask: Mask
    adapt_lower_bound: bool
    bias_correction: bool
    axis_name: AxisName

    decays_by = "proximal"

    def init(self, x: Column, start: Start):
        numbers = map(start.number, (self.learning_rate, 0, 0, self.lower_bound))
        return MomoSlots(start.zeros(x)), MomoNumbers(*numbers)

    def update(self, g: Column, slots: MomoSlots, was: MomoNumbers, x: Column, step: Step):
        beta, rho = self.beta, 1.0
        if self.bias_correction:
            rho = bias_correction(beta, step.clock.t, step.real)
        else:
            # The first batch is the first average.
            beta = jnp.where(step.clock.t == 1, 0, jnp.asarray(beta, step.real))
        slots = step.renew(slots, mu=[ema(a, b, beta) for a, b in zip(slots.mu, g, strict=True)])
        m = slots.mu
        loss = ema(was.loss_average, step.value, beta)
        gamma = ema(was.gamma, step.vdot(g, x), beta)
        alpha, decay = self.learning_rate, self.weight_decay
        slope, square = step.vdot(m, x), step.square_norm(m)
        decays, sums = step.selected(self.mask), (slope, square)
        if not all(decays):
            sums = weighted_sums(step, m, x, list(map(abs_sq, m)), decays, 1 + alpha * decay)
        model = LossModel(alpha, decay, rho, loss, gamma, slope, square, *sums)
        tau, bound = model.solved(was.lower_bound, self.lower_bound, self.adapt_lower_bound)
        steps = proximal_step(x, m, decays, tau, alpha, decay)
        return steps, slots, MomoNumbers(tau, loss, gamma, bound)


@transformation(paper=MOMO)
def momo(
    learning_rate: Rate = 1.0,
    beta: DecayRate = 0.9,
    lower_bound: Real = 0.0,
    weight_decay: ModelDecay = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """MoMo: SGD with momentum at an adaptive Polyak step size. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a large one.
        beta: decay rate of the averages, in [0, 1).
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖², taken as a proximal step. There is no other, since this one
            is in the model that gives the rate.
        mask: which parameters decay, as in `add_decayed_weights`.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        bias_correction: begin averages with zero and correct for it, instead of beginning with
            the first batch.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how the mean is kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, and `lower_bound`. With weight decay the whole
    step is divided by 1 + αλ, as in the paper and the authors' code; optax (0.2.8) divides only
    the decay, and takes no step where ‖m‖² is below 2.2e-16.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo(), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    own, _ = own_and_other(weight_decay, ProximalDecay)
    rule = Momo(
        learning_rate, beta, lower_bound, own, mask, adapt_lower_bound, bias_correction,
        axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage)
