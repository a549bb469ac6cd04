"""Clipping by the global norm.

    norm = √Σ |g|²  over all elements of all leaves
    u = min(1, max_norm / norm) g

Pascanu, Mikolov & Bengio, 2013, Algorithm 1 (https://arxiv.org/abs/1211.5063).

The norm is taken in float32 or wider: in float16 four gradients of 300 already overflow. Clipping
is one multiplication by one number, which fuses into whatever follows.
"""

from ..core.arguments import AxisName, Threshold
from ..core.rule import NoSlots
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import Start, Step, TreeRule, tree_rule
from ..math.columns import Column, scaled
from ..math.norm import clip_ratio
from .clip_by_norm import NORM_CLIPPING
from .clip_report import ClipReport


@tree_rule(numbers=ClipReport, needs_params=False, only_reports=True)
class ClipByGlobalNorm(TreeRule):
    max_norm: Threshold
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        return NoSlots(), ClipReport(*map(start.number, (0, 1, 0)))

    def update(self, g: Column, slots: NoSlots, was: ClipReport, x: None, step: Step):
        norm = step.grad_norm()
        ratio = clip_ratio(norm, self.max_norm)
        return scaled(ratio, g), slots, ClipReport(norm, ratio, ratio < 1)


@transformation(paper=NORM_CLIPPING)
def clip_by_global_norm(max_norm: Threshold, *, axis_name: AxisName = None):
    """Clip by global norm: scale all updates so that their joint norm is at most `max_norm`.

    Their direction stays.

    Args:
        max_norm: at least 0, or a schedule; infinity only measures. 1.0 is usual for transformers,
            1 to 5 for recurrent networks.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device clips by the norm of what it holds.

    Its state reports `grad_norm` (before the clip), `clip_ratio` and `clipped` (0 or 1), see
    `funcopt.metrics`. A NaN or an infinity among the updates makes them all NaN or zero, and
    `grad_norm` says so.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_global_norm(1.0)
    >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> updates
    Array([0.6, 0.8], dtype=float32)
    >>> state.grad_norm
    Array(5., dtype=float32)

    Source: https://arxiv.org/abs/1211.5063, Algorithm 1.
    """
    return LiftedTree(ClipByGlobalNorm(max_norm, axis_name))
