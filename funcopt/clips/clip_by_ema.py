"""AdaGC: clip each leaf by the norms that it has had itself.

    h_i = min(1, factor γ_i / ‖g_i‖)           for each leaf i
    u_i = h_i g_i
    γ_i ← decay γ_i + (1 − decay) ‖u_i‖

During the warm-up all leaves are clipped by their global norm, h = min(1, max_norm / ‖g‖), and
γ_i ← min(γ_i, ‖u_i‖).

Wang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.11034). There a leaf whose gradient is
zero once in the warm-up has γ_i = 0, and never moves again. Here a zero tells nothing about the
size of gradients and does not enter γ_i, nor does what is not finite; a leaf that begins after the
warm-up begins with the global clip.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Offset, Threshold
from ..core.paper import Paper
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import AccumulatorColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, in_line, in_parts, scaled
from ..math.moments import ema
from ..math.norm import clip_ratio, norm
from ..math.varying import norm_across
from .clip_report import ClipReport


class EmaSlots(NamedTuple):
    """γ, a number for each leaf; 0 where it has not begun."""

    gamma: AccumulatorColumn


@tree_rule(slots=EmaSlots, numbers=ClipReport, needs_params=False)
class ClipByEma(TreeRule):
    factor: NonNegative
    decay: DecayRate
    warmup: Offset
    max_norm: Threshold
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        return EmaSlots(start.zero_for_each(x)), ClipReport(*map(start.number, (0, 1, 0)))

    def update(self, g: Column, slots: EmaSlots, was: ClipReport, x: None, step: Step):
        norms = in_line([norm_across(norm(y).astype(step.real), self.axis_name) for y in g])
        total, gamma = norm(norms), in_line(slots.gamma)
        begun, warm = gamma > 0, step.clock.t <= self.warmup

        together = jnp.broadcast_to(clip_ratio(total, self.max_norm), norms.shape)
        alone = clip_ratio(norms, self.factor * gamma)
        ratio = jnp.where(begun & ~warm, alone, together)
        short = ratio * norms
        known = jnp.isfinite(short) & (short > 0)
        short = jnp.where(known, short, 0)
        moved = jnp.where(warm, jnp.minimum(gamma, short), ema(gamma, short, self.decay))
        moved = jnp.where(begun, moved, short)
        slots = step.renew(slots, gamma=in_parts(jnp.where(known, moved, gamma)))
        report = ClipReport(total, jnp.min(ratio), jnp.mean((ratio < 1).astype(step.real)))
        return scaled(ratio, g), slots, report


ADAGC = Paper(
    "Wang, Guoxia and Li, Shuai and Chen, Congliang and Zeng, Jinle and Yang, Jiabin and Yu, "
    "Dianhai and Ma, Yanjun and Shen, Li",
    "AdaGC: Enhancing LLM Pretraining Stability via Adaptive Gradient Clipping",
    2025,
    "https://arxiv.org/abs/2502.11034",
)


@transformation(paper=ADAGC)
def clip_by_ema(
    factor: NonNegative = 1.05,
    decay: DecayRate = 0.98,
    warmup: Offset = 100,
    max_norm: Threshold = 1.0,
    *,
    axis_name: AxisName = None,
):
    """AdaGC: clip the norm of each leaf to a multiple of its moving average.

    u_i = min(1, factor γ_i / ‖g_i‖) g_i, where γ_i is the moving average of ‖u_i‖

    Args:
        factor: how far above the average a norm may be, at least 0, or a schedule. γ_i grows by
            at most (1 − decay)(factor − 1) of itself in a step: 0.1 % with the defaults.
        decay: of the averages, in [0, 1), or a schedule.
        warmup: for how many steps all leaves are clipped together, at least 0.
        max_norm: the bound of the global norm until then, at least 0, or a schedule.
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device goes by the norms of what it holds.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of leaves), see `funcopt.metrics`. Norms that are zero or not finite
    enter no average.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_ema(warmup=2)
    >>> state = tx.init(jnp.zeros(1))
    >>> for norm in (0.5, 0.6, 10.0):
    ...     update, state = tx.update(jnp.array([norm]), state)
    >>> float(update[0]), float(state.clipped)
    (0.525..., 1.0)

    Source: https://arxiv.org/abs/2502.11034, Algorithm 1.
    """
    return LiftedTree(ClipByEma(factor, decay, warmup, max_norm, axis_name))
