"""Clipping by the norm of each leaf.

    u = min(1, max_norm / ‖g‖) g      for each leaf g

As by the global norm (https://arxiv.org/abs/1211.5063, Algorithm 1), but a leaf with large
gradients does not shorten the others.
"""

from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, Threshold
from ..core.optimizer import lift
from ..core.paper import ICML, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.norm import norm
from ..math.varying import norm_across
from .clip_report import ClipReport, clipped_units


@rule(acts_on="array", report=ClipReport)
class ClipByNorm(Rule):
    max_norm: Threshold
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the bound is the same for all leaves
        length = norm_across(norm(grad), self.axis_name)
        update, report = clipped_units(grad, length, self.max_norm)
        return update, slots, report


NORM_CLIPPING = Paper(
    "Pascanu, Razvan and Mikolov, Tomas and Bengio, Yoshua",
    "On the difficulty of training recurrent neural networks",
    2013,
    "https://arxiv.org/abs/1211.5063",
    booktitle=ICML,
)


@transformation(paper=NORM_CLIPPING)
def clip_by_norm(max_norm: Threshold, *, axis_name: AxisName = None):
    """Clip by norm, leaf by leaf: bound the norm of each by `max_norm`; its direction stays.

    u = min(1, max_norm / ‖g‖) g

    Args:
        max_norm: at least 0, or a schedule; infinity only measures.
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device clips by the norm of what it holds.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of leaves), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_norm(1.0)
    >>> grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.5])}
    >>> updates, state = tx.update(grads, tx.init(grads))
    >>> updates
    {'a': Array([0.6, 0.8], dtype=float32), 'b': Array([0.5], dtype=float32)}
    >>> float(state.clip_ratio), float(state.clipped)
    (0.2..., 0.5)

    Source: https://arxiv.org/abs/1211.5063, for each leaf.
    """
    return lift(ClipByNorm(max_norm, axis_name))
