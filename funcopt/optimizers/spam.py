"""SPAM: Adam with spike-aware clipping, whose moments are reset every so often.

    at every `reset_interval`-th update μ ← 0, ν ← 0, and j is the number of updates since
    g ← sign(g) √(threshold ν)      where |g|² > threshold ν, not for the first `grace` updates
    μ ← b1 μ + (1 − b1) g,  ν ← b2 ν + (1 − b2) |g|²
    u = s √(1 − b2ᵗ) / (1 − b1ᵗ) · μ / (√ν + eps)
    s = 1 − 0.99 (1 + cos(π j / (warmup + 1))) / 2  for j < warmup after a reset, else 1

Huang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2501.06842), without its sparse momentum. As
in the authors' program the bias correction knows no resets, after which the steps are short by s.
Where ν is still 0 nothing is cut: there is no history to stand out of.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..clips.clip_spikes import SPAM, without_spikes
from ..core.arguments import DecayRate, DType, NonNegative, Offset, Rate, Steps, Threshold
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, bias_correction, divide_by_root, ema
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .moment_slots import Moments, mean_square, zero_moments


@rule(acts_on="element", slots=Moments)
class Spam(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-6
    threshold: Threshold = 5000.0
    reset_interval: Steps = 500
    warmup: Offset = 150
    grace: Offset = 20

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # SPAM looks only at gradients
        t, real = clock.t, slots.nu.dtype
        into = t % self.reset_interval
        mu, nu = (jnp.where(into == 0, 0, x) for x in slots)
        limit = self.threshold**0.5 * jnp.sqrt(nu)
        looks = (t >= self.grace) & (into >= self.grace) & (nu > 0)
        grad, _, _ = without_spikes(grad, limit, looks)
        slots = clock.renew(
            slots, mu=ema(mu, grad, self.b1), nu=ema(nu, abs_sq(grad), self.b2)
        )  # fmt: skip
        part = jnp.minimum(into, self.warmup).astype(real) / (self.warmup + 1)
        short = 1 - 0.99 * (1 + jnp.cos(math.pi * part)) / 2
        short = jnp.where((t < self.reset_interval) | (into >= self.warmup), 1, short)
        first, second = (bias_correction(b, t, real) for b in (self.b1, self.b2))
        factor = short * jnp.sqrt(second) / first
        return factor * divide_by_root(slots.mu, slots.nu, self.eps), slots

    def divides_by(self) -> Divisor:
        # The correction counts all updates, not those since a restart.
        return Divisor(mean_square, self.b2, self.eps, corrected=True, restarts=self.reset_interval)


@transformation(paper=SPAM)
def spam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-6,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    threshold: Threshold = 5000.0,
    reset_interval: Steps = 500,
    warmup: Offset = 150,
    grace: Offset = 20,
    storage: Storage = None,
):
    """SPAM: Adam with spike-aware clipping and momentum reset. `clip_spikes` is its clip alone.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps, mu_dtype: as in `adam`.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        threshold: an element is cut where its square is above `threshold` times its mean square;
            at least 0, or a schedule; infinity for none.
        reset_interval: after how many updates moments begin anew, at least 1.
        warmup: for how many updates after that steps are shorter, at least 0.
        grace: for how many updates after that nothing is cut, at least 0.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.spam(0.1), jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([ 0.9..., -1.9...], dtype=float32)

    Source: https://arxiv.org/abs/2501.06842, Algorithm 1.
    """
    return optimizer(
        Spam(b1, b2, eps, threshold, reset_interval, warmup, grace),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
