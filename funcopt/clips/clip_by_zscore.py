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

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

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
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.global_norm import global_norm
from ..math.moments import ema
from ..math.norm import clip_ratio, rms_ema, weighted_rms
from ..math.varying import AxisNames
from .clip_state import clip_metrics, nothing_clipped

ClipOptionName = Literal["adaptive_scaling", "mean", "percentile"]
ClipOption = Annotated[ClipOptionName, Choice(get_args(ClipOptionName))]


class ZClipState(NamedTuple):
    """The report of `ClipState`, the mean and deviation of norms, and how many have entered."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    mean: Float[Array, ""]
    std: Float[Array, ""]
    entered: Int[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {**clip_metrics(self), "norm_mean": self.mean, "norm_std": self.std}


@dataclass(frozen=True)
class _ZClip:
    z: Any
    decay: Any
    warmup: int
    max_norm: Any
    eps: Any
    clip_factor: Any
    clip_option: str
    skip_update_on_spike: bool
    axis_name: AxisNames

    static: ClassVar = ("warmup", "clip_option", "skip_update_on_spike", "axis_name")

    def init(self, params: Params) -> ZClipState:
        _, start = Start.of(self, params)
        return ZClipState(
            start.count,
            **nothing_clipped(start),
            mean=start.learnt(0.0),
            std=start.learnt(0.0),
            entered=start.varying(start.count),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: ZClipState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ZClipState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=ZClipState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        n = global_norm([leaf.grad for leaf in now.leaves], self.axis_name).astype(now.real)
        mean, std = state.mean.astype(now.real), state.std.astype(now.real)
        known, warm = jnp.isfinite(n) & (n > 0), state.entered < self.warmup

        spike, reduced = self._reduced(h, n, mean, std)
        spike &= ~warm
        let = jnp.where(spike, reduced, n)
        ratio = clip_ratio(n, jnp.minimum(let, h.max_norm))

        x = jnp.where(known, let, mean)
        k = (state.entered + 1).astype(now.real)
        away = x - mean
        begun_mean = mean + away / k
        begun_std = weighted_rms(std, 1 - 1 / k, away, (1 - 1 / k) / k)
        later_mean = ema(mean, x, h.decay)
        later_std = rms_ema(std, x - later_mean, h.decay)
        enters = known & ~(spike & self.skip_update_on_spike)
        return now.leave([ratio * g for g in now.grads]), now.renew(
            grad_norm=n,
            clip_ratio=ratio,
            clipped=ratio < 1,
            mean=jnp.where(enters, jnp.where(warm, begun_mean, later_mean), mean),
            std=jnp.where(enters, jnp.where(warm, begun_std, later_std), std),
            entered=state.entered + jnp.where(enters & warm, 1, 0),
        )

    def _reduced(self, h: Any, n: Array, mean: Array, std: Array) -> tuple[Array, Array]:
        """Whether a norm stands out, and to what it is reduced then."""
        bound = mean + h.z * std
        if self.clip_option == "percentile":
            return n > bound, bound
        z = (n - mean) / (std + h.eps)
        spike = z > h.z
        if self.clip_option == "mean":
            return spike, mean
        eta = jnp.where(spike, z, 1) / h.z
        return spike, h.clip_factor * (mean + h.z * std / eta)


@transformation
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
    """ZClip: shorten updates whose global norm stands out from the norms before it.

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
    return _ZClip(
        z, decay, warmup, max_norm, eps, clip_factor, clip_option, skip_update_on_spike, axis_name
    )
