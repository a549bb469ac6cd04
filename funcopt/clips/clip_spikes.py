"""SPAM's spike-aware clipping: an element is held within √threshold times its own history.

    u = sign(g) √(threshold ν)      where |g|² > threshold ν,  else g
    ν ← decay ν + (1 − decay) |u|²

Huang et al., 2025, section 3 (https://arxiv.org/abs/2501.06842). Where ν is still 0 there is no
history to compare with, and nothing is clipped: in the authors' program such an element stays at
zero until the next reset.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from ..core.arguments import AxisName, DecayRate, Offset, Threshold
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.report import Counted
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, ema, zeros_real
from ..math.norm import norm
from ..math.safe import safe_sqrt
from ..math.varying import min_across, norm_across, parts, sum_across
from ..optimizers.scale_by_rms import SquareSlots
from ..storage import Storage
from .clip_report import ClipReport


@rule(acts_on="element", slots=SquareSlots, report=ClipReport)
class ClipSpikes(Rule):
    threshold: Threshold
    decay: DecayRate
    grace: Offset
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]):
        return SquareSlots(zeros_real(param))

    def update(self, grad: Inexact[Array, "*p"], slots: SquareSlots, param, clock: Clock):
        del param  # an element is compared with its own gradients
        limit = self.threshold**0.5 * safe_sqrt(slots.nu)
        looks = (clock.t > self.grace) & (slots.nu > 0)
        update, spike, ratio = without_spikes(grad, limit, looks)
        square = abs_sq(update)
        nu = jnp.where(jnp.isfinite(square), ema(slots.nu, square, self.decay), slots.nu)
        report = ClipReport(
            norm_across(norm(grad), self.axis_name),
            min_across(jnp.min(ratio, initial=1), self.axis_name),
            self._share(spike, grad, nu),
        )
        return update, clock.renew(slots, nu=nu), report

    def _share(self, spike: Array, grad: Inexact[Array, "*p"], nu: Float[Array, "*p"]) -> Counted:
        """How many elements are cut, of how many there are on all devices."""
        spikes = sum_across(jnp.sum(spike, dtype=nu.dtype), self.axis_name)
        return Counted(spikes, grad.size * parts(grad, self.axis_name))


def without_spikes(
    grad: Inexact[Array, "*p"], limit: Float[Array, "*p"], looks: Bool[Array, "*p"]
) -> tuple[Inexact[Array, "*p"], Bool[Array, "*p"], Float[Array, "*p"]]:
    """Each element no longer than its limit where it `looks`; which were, and their factors."""
    size = jnp.abs(grad)
    spike = looks & (size > limit)
    ratio = jnp.where(spike, limit / jnp.where(spike, size, 1), 1)
    return jnp.where(spike, grad * ratio, grad), spike, ratio


SPAM = Paper(
    "Huang, Tianjin and Zhu, Ziquan and Jin, Gaojie and Liu, Lu and Wang, Zhangyang and Liu, "
    "Shiwei",
    "SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM Training",
    2025,
    "https://arxiv.org/abs/2501.06842",
    booktitle=ICLR,
)


@transformation(paper=SPAM)
def clip_spikes(
    threshold: Threshold = 5000.0,
    decay: DecayRate = 0.999,
    *,
    grace: Offset = 20,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """SPAM's spike-aware clipping: bound an element's square by `threshold` times its mean.

    u = sign(g) √(threshold ν) where |g|² > threshold ν

    Args:
        threshold: of |g|² / ν, at least 0, or a schedule; infinity for none.
        decay: of the mean square ν of each element, in [0, 1), or a schedule.
        grace: for how many updates to look only, at least 0.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`: what is reported is of all shards. None: of those on this device.
        storage: how ν is kept, see `funcopt.storage`; as all that is never negative, in full.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of elements), see `funcopt.metrics`. Only what the clip lets through
    enters ν, and nothing that is not finite. `spam` has the clip inside an Adam that also resets.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_spikes(100.0, 0.5, grace=3)
    >>> state = tx.init(jnp.zeros(2))
    >>> for size in (1.0, 1.0, 1.0, 1000.0):
    ...     update, state = tx.update(jnp.array([1.0, size]), state)
    >>> update, float(state.clipped)
    (Array([1.       , 9.3541...], dtype=float32), 0.5)

    Source: https://arxiv.org/abs/2501.06842, section 3.
    """
    return lift(ClipSpikes(threshold, decay, grace, axis_name), storage=storage)
