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

from ..core.arguments import AxisName, Choice, DecayRate, NonNegative, Positive, Steps, Threshold
from ..core.rule import NoSlots
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
