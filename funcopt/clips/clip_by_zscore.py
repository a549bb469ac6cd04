"""ZClip: clip a global norm that stands out from the norms before it.

    u = min(1, min(n', max_norm) / n) g      n' as in `zscore`

Kumar, Owen, Roy Chowdhury & Güra, 2025 (https://arxiv.org/abs/2504.02507).
"""

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Positive, Steps, Threshold
from ..core.paper import Paper
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from .zscore import ClipByZscore, ClipOption

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
