"""ZClip: clip a global norm that stands out from the norms before it.

    z = (n − μ) / (σ + eps)                              n = ‖g‖ of all leaves
    n' = μ + z_max σ · z_max / z   where z > z_max,  else n
    u = min(1, min(n', max_norm) / n) g
    μ ← a μ + (1 − a) n'                                 what enters is what was let through
    σ² ← a σ² + (1 − a) (n' − μ)²                        with the new μ

Kumar, Owen, Roy Chowdhury & Güra, 2025 (https://arxiv.org/abs/2504.02507). During the warm-up only
`max_norm` clips, and μ and σ² are the mean and the variance of the norms so far. Their program
collects these in a buffer, here they are updated one by one; what is kept is σ, whose square may
be too large for a float. A norm that is not finite enters nothing, nor does zero: after a warm-up
of zeros every later gradient would be cut to zero.
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..core.arguments import (
    AxisName,
    Choice,
    DecayRate,
    Flag,
    NonNegative,
    Positive,
    Steps,
    Threshold,
)
from ..core.paper import Paper
from ..core.rule import NoSlots
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import Number, Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, scaled
from ..math.moments import ema
from ..math.norm import clip_ratio, rms_ema, weighted_rms

ClipOptionName = Literal["adaptive_scaling", "mean", "percentile"]
ClipOption = Annotated[ClipOptionName, Choice(get_args(ClipOptionName))]
Scalar = Float[Array, ""]


class ZscoreNumbers(NamedTuple):
    """A `ClipReport`, the mean and the deviation of norms, and how many have entered."""

    grad_norm: Reported
    clip_ratio: Reported
    clipped: Reported
    norm_mean: Reported
    norm_std: Reported
    entered: Number


@tree_rule(numbers=ZscoreNumbers, needs_params=False)
class ClipByZscore(TreeRule):
    z: Positive
    decay: DecayRate
    warmup: Steps
    max_norm: Threshold
    eps: Positive
    clip_factor: NonNegative
    clip_option: ClipOptionName
    skip_update_on_spike: bool
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        norm, ratio, clipped, mean, std = map(start.number, (0, 1, 0, 0, 0))
        return NoSlots(), ZscoreNumbers(norm, ratio, clipped, mean, std, jnp.int32(0))

    def update(self, g: Column, slots: NoSlots, was: ZscoreNumbers, x: None, step: Step):
        n = step.grad_norm()
        mean, std = was.norm_mean.astype(step.real), was.norm_std.astype(step.real)
        known, warm = jnp.isfinite(n) & (n > 0), was.entered < self.warmup

        spike, reduced = self._reduced(n, mean, std)
        spike &= ~warm
        let = jnp.where(spike, reduced, n)
        ratio = clip_ratio(n, jnp.minimum(let, self.max_norm))

        entering = jnp.where(known, let, mean)
        k = (was.entered + 1).astype(step.real)
        away = entering - mean
        begun_mean = mean + away / k
        begun_std = weighted_rms(std, 1 - 1 / k, away, (1 - 1 / k) / k)
        later_mean = ema(mean, entering, self.decay)
        later_std = rms_ema(std, entering - later_mean, self.decay)
        enters = known & ~(spike & self.skip_update_on_spike)
        return (
            scaled(ratio, g),
            slots,
            ZscoreNumbers(
                grad_norm=n,
                clip_ratio=ratio,
                clipped=ratio < 1,
                norm_mean=jnp.where(enters, jnp.where(warm, begun_mean, later_mean), mean),
                norm_std=jnp.where(enters, jnp.where(warm, begun_std, later_std), std),
                entered=was.entered + jnp.where(enters & warm, 1, 0),
            ),
        )

    def _reduced(self, n: Scalar, mean: Scalar, std: Scalar) -> tuple[Bool[Array, ""], Scalar]:
        """Whether a norm stands out, and to what it is reduced then."""
        bound = mean + self.z * std
        if self.clip_option == "percentile":
            return n > bound, bound
        z = (n - mean) / (std + self.eps)
        spike = z > self.z
        if self.clip_option == "mean":
            return spike, mean
        eta = jnp.where(spike, z, 1) / self.z
        return spike, self.clip_factor * (mean + self.z * std / eta)


ZCLIP = Paper(
    'Kumar, Abhay and Owen, Louis and Chowdhury, Nilabhra Roy and G{\\"u}ra, Fabian',
    "ZClip: Adaptive Spike Mitigation for LLM Pre-Training",
    2025,
    "https://arxiv.org/abs/2504.02507",
)


@transformation(paper=ZCLIP)
def clip_by_zscore(
    z: Positive = 2.5,
    decay: DecayRate = 0.97,
    warmup: Steps = 25,
    max_norm: Threshold = 1.0,
    *,
    eps: Positive = 1e-6,
    clip_factor: NonNegative = 1.0,
    clip_option: ClipOption = "adaptive_scaling",
    skip_update_on_spike: Flag = False,
    axis_name: AxisName = None,
):
    """ZClip: clip global norms whose z-score among the norms before is above a threshold.

    Args:
        z: how many deviations above the mean a norm may be, above 0.
        decay: of the mean and the variance of norms, in [0, 1), or a schedule.
        warmup: how many norms make the first mean and variance, at least 1; until then only
            `max_norm` clips.
        max_norm: a bound that always holds, at least 0, or a schedule; infinity for none.
        eps: added to the deviation, above 0, in units of the norm: where norms vary by less, none
            stands out.
        clip_factor: what the reduced norm is multiplied by, at least 0, or a schedule.
        clip_option: what an outlier is reduced to: `"adaptive_scaling"`, nearer to the mean the
            farther it is out; `"mean"`; or `"percentile"`, mean + z deviations.
        skip_update_on_spike: whether outliers stay out of mean and variance altogether.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device goes by the norm of what it holds.

    Its state reports `grad_norm` (before the clip), `clip_ratio`, `clipped` (0 or 1), `norm_mean`
    and `norm_std`, see `funcopt.metrics`. Norms that are zero or not finite enter neither mean
    nor variance; in the authors' program one NaN ends the clipping without a sign.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_zscore(warmup=4, max_norm=float("inf"))
    >>> state = tx.init(jnp.zeros(1))
    >>> for norm in (0.9, 1.1, 0.9, 1.1, 50.0):
    ...     update, state = tx.update(jnp.array([norm]), state)
    >>> float(update[0]), float(state.clipped)
    (1.001..., 1.0)

    Source: https://arxiv.org/abs/2504.02507; https://github.com/bluorion-com/ZClip.
    """
    rule = ClipByZscore(
        z, decay, warmup, max_norm, eps, clip_factor, clip_option, skip_update_on_spike, axis_name
    )
    return LiftedTree(rule)
