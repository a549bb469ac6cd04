"""Stable-SPAM: Adam behind a clip of spikes and a norm that follows its history.

For each leaf, with s = 1, or falling to eta_min along a cosine over `total_steps`:

    M ← γ3 M + (1 − γ3) max|g|          g_i ← g_i M̂ / max|g|  where |g_i| > M̂      (AdaClip)
    N ← γ1 s N + (1 − γ1 s) ‖g‖         g ← g / ‖g‖ · N̂ / (√R̂ + eps)                (AdaGN)
    R ← γ2 R + (1 − γ2) ‖g‖²
    μ ← b1 s μ + (1 − b1 s) g,  ν ← b2 ν + (1 − b2) |g|²
    x ← x − η (μ̂ / (√ν̂ + eps) + weight_decay x)

Hats correct the bias. Every `reset_interval` steps μ and ν begin anew.

Huang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.17055v2). At a reset the authors'
program still uses the old moments, corrected as if they were new, and counts M, N and R anew
without resetting them, so that M̂ is hundreds of times too large from then on; here moments begin
at once and the counts of the others go on. √R is kept, whose square may be too large for a float,
and what is not finite enters none of the three.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ..clips.clip_report import ClipReport
from ..core.arguments import (
    AxisName,
    ClosedDecayRate,
    DecayRate,
    DType,
    NonNegative,
    OptionalSteps,
    Rate,
)
from ..core.lift import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, bias_correction, divide_by_root, ema, zeros_real
from ..math.varying import zero_learnt_from
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .calmed_gradient import StableSpamSlots, calmed
from .moment_slots import mean_square


@rule(acts_on="array", slots=StableSpamSlots, report=ClipReport)
class StableSpam(Rule):
    b1: DecayRate
    b2: DecayRate
    eps: NonNegative
    gamma1: DecayRate
    gamma2: DecayRate
    gamma3: DecayRate
    reset_interval: OptionalSteps
    total_steps: OptionalSteps
    eta_min: ClosedDecayRate
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> StableSpamSlots:
        none, *zeros = (zero_learnt_from(param, self.axis_name) for _ in range(4))
        moments = jnp.zeros_like(param), zeros_real(param)
        return StableSpamSlots(*moments, none.astype(jnp.int32), *zeros)

    def update(self, grad: Inexact[Array, "*p"], slots: StableSpamSlots, param, clock: Clock):
        del param  # Stable-SPAM looks only at gradients
        t, real = clock.t, slots.nu.dtype
        scale = self._scale(t, real)
        gammas = self.gamma1 * scale, self.gamma2, self.gamma3
        calm, slots, report = calmed(grad, slots, clock, gammas, self.eps, self.axis_name)
        square = jnp.minimum(abs_sq(calm), float(jnp.finfo(real).max))  # no infinity stays
        mu, nu, steps = slots.mu, slots.nu, self._steps(t)
        if self.reset_interval is not None:
            mu, nu = (jnp.where(t % self.reset_interval == 0, 0, x) for x in (mu, nu))
        b1 = self.b1 * scale
        slots = clock.renew(slots, mu=ema(mu, calm, b1), nu=ema(nu, square, self.b2))
        first, second = (bias_correction(b, steps, real) for b in (b1, self.b2))
        return divide_by_root(slots.mu / first, slots.nu / second, self.eps), slots, report

    def _scale(self, t: Int[Array, ""], real) -> Float[Array, ""] | float:
        if self.total_steps is None:
            return 1.0
        part = jnp.minimum(t.astype(real) / (jnp.asarray(self.total_steps, real) + 1), 1)
        return self.eta_min + (1 - self.eta_min) * (1 + jnp.cos(math.pi * part)) / 2

    def _steps(self, t: Int[Array, ""]) -> Int[Array, ""]:
        """How many gradients the moments have seen."""
        if self.reset_interval is None:
            return t
        return jnp.where(t < self.reset_interval, t, t % self.reset_interval + 1)

    def divides_by(self) -> Divisor:
        return Divisor(
            mean_square, self.b2, self.eps, corrected=True, restarts=self.reset_interval,
            updates=self._steps,
        )  # fmt: skip


STABLE_SPAM = Paper(
    "Huang, Tianjin and Hu, Haotian and Zhang, Zhenyu and Jin, Gaojie and Li, Xiang and Shen, "
    "Li and Chen, Tianlong and Liu, Lu and Wen, Qingsong and Wang, Zhangyang and Liu, Shiwei",
    "Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam",
    2025,
    "https://arxiv.org/abs/2502.17055v2",
)


@transformation(paper=STABLE_SPAM)
def stable_spam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    gamma1: DecayRate = 0.7,
    gamma2: DecayRate = 0.9,
    gamma3: DecayRate = 0.999,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    mu_dtype: DType = None,
    reset_interval: OptionalSteps = 1000,
    total_steps: OptionalSteps = None,
    eta_min: ClosedDecayRate = 0.5,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Stable-SPAM: Adam with adaptive clipping of elements and norms, and momentum reset.

    Entries that stand out of their leaf's history are cut, the norm of each leaf is replaced by
    the ratio of its mean to its root mean square, and the moments begin anew now and then.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps: as in `adam`.
        gamma1: decay of the mean norm, in [0, 1); the paper has 0.85 for bfloat16.
        gamma2: decay of the mean squared norm, in [0, 1); the paper has 0.99999 for bfloat16.
        gamma3: decay of the mean largest entry, in [0, 1).
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        reset_interval: after how many updates moments begin anew, at least 1; None for never.
        total_steps: over how many updates `b1` and `gamma1` fall to `eta_min` times themselves;
            None: they stay.
        eta_min: in [0, 1].
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device takes what it holds of a leaf for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `grad_norm` (of all leaves, before), and of the entries that were cut
    `clip_ratio` (the smallest) and `clipped` (their fraction), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stable_spam(0.1), jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 1e6 * params, tx.init(params), params)
    >>> params
    Array([ 0.9, -1.9], dtype=float32)

    Source: https://arxiv.org/abs/2502.17055v2, Algorithm 1.
    """
    rule = StableSpam(
        b1, b2, eps, gamma1, gamma2, gamma3, reset_interval, total_steps, eta_min, axis_name
    )
    return optimizer(
        rule,
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
