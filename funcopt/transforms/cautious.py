"""Cautious steps: an element moves only where its step goes against its gradient.

    φ = 1 where u · g < 0, else 0           for a step u that goes down, −η d
    u ← u φ / max(mean φ, 1e-3)             the mean over all elements of one parameter

Liang, Chen, Liu & Liu, 2024, Algorithm 1 (https://arxiv.org/abs/2411.16085), whose factor is
n / (n_φ + 1); their program, timm's and this divide by the mean, at least 1e-3.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, Base
from ..core.paper import Paper
from ..core.rule import NoSlots
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import NoNumbers, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..math.varying import mean_across

LEAST_SHARE = 1e-3


@tree_rule()
class Cautious(TreeRule):
    axis_name: AxisName = None

    def update(self, g: Column, slots: NoSlots, was: NoNumbers, x: Column, step: Step):
        updates, inner = step.run()

        def masked(u: Inexact[Array, "*p"], grad: Inexact[Array, "*p"]) -> Inexact[Array, "*p"]:
            agrees = jnp.real(u * jnp.conj(grad)) < 0
            share = mean_across(jnp.mean(agrees, dtype=step.real), self.axis_name)
            share = jnp.maximum(share, LEAST_SHARE).astype(u.dtype)
            return jnp.where(agrees, u / share, jnp.zeros_like(u))

        return [masked(u, each) for u, each in zip(updates, g, strict=True)], slots, was, inner


CAUTIOUS = Paper(
    "Liang, Kaizhao and Chen, Lizhang and Liu, Bo and Liu, Qiang",
    "Cautious Optimizers: Improving Training with One Line of Code",
    2024,
    "https://arxiv.org/abs/2411.16085",
)


@transformation(paper=CAUTIOUS)
def cautious(inner: Base, *, axis_name: AxisName = None):
    """Cautious optimizer: leave out the elements of a step that do not go against the gradient.

    Those that do become longer, so that a step of each parameter is as long as before where all
    elements are.

    Args:
        inner: the optimizer, whose updates go down; its state is its own. Decay that is a part of
            it is masked with the rest. The authors' is not: that is
            `chain(cautious(adam(0.1)), add_decayed_weights(-0.1 * 0.01))`.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, so that
            means are those of whole parameters. None: each device takes that of its part.

    Raises:
        ValueError: `update` was called without parameters.

    A mean is of one leaf, layers that are stacked in it included.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.cautious(funcopt.sgd(0.1, momentum=0.9)), jnp.zeros(2)
    >>> params, state = funcopt.step(tx, jnp.array([1.0, 1.0]), tx.init(params), params)
    >>> tx.update(jnp.array([1.0, -0.5]), state, params)[0]  # one of two, twice as long
    Array([-0.38,  0.  ], dtype=float32)

    Source: https://arxiv.org/abs/2411.16085, Algorithm 1.
    """
    return LiftedTree(Cautious(axis_name), inner=gated(inner))
