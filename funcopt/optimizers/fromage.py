"""Fromage: steps as long as the parameters of their array, and a shrinkage that keeps their size.

    x ← (x − learning_rate max(‖x‖, min_norm) / max(‖g‖, min_norm) g) / √(1 + learning_rate²)

Bernstein et al., 2020, Algorithm 1 (https://arxiv.org/abs/2002.03432), with the least norm of optax
in place of a plain step where one of the norms is 0, which `min_norm=0` is.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.optimizer import subtracted
from ..core.paper import NEURIPS, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..storage import Storage
from ..transforms.scale_by_trust_ratio import TrustRatio


@rule(acts_on="element", needs_params=True)
class Shrink(Rule):
    """A step with its rate in it, after which the parameter is divided by √(1 + rate²)."""

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        assert clock.lr is not None
        square = clock.lr**2
        root = jnp.sqrt(1 + square)
        # 1 − 1 / root is this, with all of its digits where the rate is small.
        shrunk = times(square / (root * (root + 1)), param)
        return times(clock.lr / root, grad) + shrunk, slots


FROMAGE = Paper(
    "Bernstein, Jeremy and Vahdat, Arash and Yue, Yisong and Liu, Ming-Yu",
    "On the distance between two neural networks and the stability of learning",
    2020,
    "https://arxiv.org/abs/2002.03432",
    booktitle=NEURIPS,
)


@transformation(paper=FROMAGE)
def fromage(
    learning_rate: Rate,
    min_norm: NonNegative = 1e-6,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Fromage: gradient descent with relative steps in each array, and no memory at all.

    x ← (x − learning_rate ‖x‖ g / ‖g‖) / √(1 + learning_rate²)

    Args:
        learning_rate: how far each array moves in a step, relative to its own norm, at least 0; or
            a schedule. 0.01 is the authors'.
        min_norm: what norms count with if they are smaller, at least 0; or a schedule. With 0,
            where one of them is 0 the gradient is not scaled, as in the authors' program.
        layer_axis: where layers are stacked in one leaf, each of which has norms of its own, as in
            `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`; there are none.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.fromage(0.75), jnp.array([3.0, 4.0])
    >>> params, _ = funcopt.step(tx, jnp.array([-4.0, 3.0]), tx.init(params), params)
    >>> params
    Array([4.8..., 1.399...], dtype=float32)

    Source: https://arxiv.org/abs/2002.03432, Algorithm 1.
    """
    return subtracted(
        TrustRatio(min_norm, axis_name=axis_name),
        Shrink(),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=storage,
    )
