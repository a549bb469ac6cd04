"""MARS: gradients whose noise is reduced by their difference from those of the step before.

    c = g + gamma b1 / (1 − b1) (g − g')            g' is the gradient of the last step
    u = c min(1, max_norm / ‖c‖)                    ‖c‖ over one parameter

Yuan, Liu, Wu, Zhou & Gu, 2024, Algorithm 1 (https://arxiv.org/abs/2411.10438), in the form that
the paper calls approximate: g' is of the last batch, not of this one at the last parameters. At the
first step c is g, as in timm.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..clips.clip_by_norm import ClipByNorm
from ..core.arguments import AxisName, DecayRate, NonNegative, Threshold
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..storage import Storage


class MarsSlots(NamedTuple):
    """The gradient of the last step."""

    previous_gradient: Signed


@rule(acts_on="element", slots=MarsSlots)
class Mars(Rule):
    gamma: NonNegative = 0.025
    b1: DecayRate = 0.95

    def init(self, param: Inexact[Array, "*p"]) -> MarsSlots:
        return MarsSlots(jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: MarsSlots, param, clock: Clock):
        del param  # the difference is of gradients
        difference = jnp.where(clock.t == 1, 0, grad - slots.previous_gradient)
        scale = self.gamma * self.b1 / (1 - self.b1)
        return grad + times(scale, difference), clock.renew(slots, previous_gradient=grad)


MARS = Paper(
    "Yuan, Huizhuo and Liu, Yifeng and Wu, Shuang and Zhou, Xun and Gu, Quanquan",
    "MARS: Unleashing the Power of Variance Reduction for Training Large Models",
    2024,
    "https://arxiv.org/abs/2411.10438",
)


@transformation(paper=MARS)
def mars(
    gamma: NonNegative = 0.025,
    b1: DecayRate = 0.95,
    max_norm: Threshold = 1.0,
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """MARS: variance reduction of gradients, in front of any optimizer.

    MARS-AdamW is `chain(mars(b1=0.95), adamw(3e-3, b1=0.95, b2=0.99))`; with `lion` or `muon` in
    its place it is MARS-Lion or MARS-Shampoo.

    Args:
        gamma: how much of the difference is added, at least 0; or a schedule. 0 leaves the
            gradient as it is, but for the clip.
        b1: that of the optimizer, in [0, 1).
        max_norm: of each parameter's corrected gradient, at least 0; infinity for no clip.
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `clip_by_norm`.
        storage: how the last gradient is kept, see `funcopt.storage`.

    Its state reports `grad_norm`, `clip_ratio` and `clipped`, as that of `clip_by_norm`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.mars(0.1, b1=0.9, max_norm=2.0), jnp.zeros(1)
    >>> _, state = tx.update(jnp.array([1.0]), tx.init(params))
    >>> tx.update(jnp.array([0.5]), state)[0]  # 0.5 + 0.1 * 9 * (0.5 - 1)
    Array([0.05], dtype=float32)

    Source: https://arxiv.org/abs/2411.10438, Algorithm 1.
    """
    return lift(Mars(gamma, b1), ClipByNorm(max_norm, axis_name), storage=storage)
