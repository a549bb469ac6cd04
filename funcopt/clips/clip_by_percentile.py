"""AutoClip: clip the global norm at a percentile of all norms so far.

    u = min(1, c / ‖g‖) g      c as in `percentile`

Seetharaman, Wichern, Pardo & Le Roux, 2020, Algorithm 1 (https://arxiv.org/abs/2007.14469).
"""

from ..core.arguments import AxisName, ClosedDecayRate
from ..core.paper import Paper
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from .percentile import ClipByPercentile, Percentile

AUTOCLIP = Paper(
    "Seetharaman, Prem and Wichern, Gordon and Pardo, Bryan and Le Roux, Jonathan",
    "AutoClip: Adaptive Gradient Clipping for Source Separation Networks",
    2020,
    "https://arxiv.org/abs/2007.14469",
    booktitle="IEEE International Workshop on Machine Learning for Signal Processing",
)


@transformation(paper=AUTOCLIP)
def clip_by_percentile(
    q: Percentile = 10.0, decay: ClosedDecayRate = 1.0, *, axis_name: AxisName = None
):
    """AutoClip: clip the global norm to a percentile of the norms so far.

    u = min(1, c / ‖g‖) g, where c is the `q`-th percentile of all norms, this one included

    Args:
        q: from 0 to 100, or a schedule; with 10, nine of ten steps are clipped.
        decay: what earlier norms count for in each later step, in [0, 1], or a schedule; 1 never
            forgets.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device goes by the norm of what it holds.

    Its state reports `grad_norm` (before the clip), `clip_ratio`, `clipped` (0 or 1) and
    `clip_threshold`, see `funcopt.metrics`. c is within a factor of 1.075 of the exact percentile
    for norms from 1e-16 to 1e16 times the first. Norms that are zero or not finite are not counted.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_percentile(50.0)
    >>> state = tx.init(jnp.zeros(1))
    >>> for norm in (1.0, 2.0, 100.0):
    ...     update, state = tx.update(jnp.array([norm]), state)
    >>> float(update[0]), float(state.clipped)
    (2.0..., 1.0)

    Source: https://arxiv.org/abs/2007.14469, Algorithm 1.
    """
    return LiftedTree(ClipByPercentile(q, decay, axis_name))
