"""Normalised gradients: every step of the same length.

u = scale_factor g / (‖g‖ + eps)      over all elements of all leaves
"""

from typing import NamedTuple

from ..core.arguments import AxisName, NonNegative, Real
from ..core.rule import NoSlots
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..math.safe import safe_divide


class NormNumbers(NamedTuple):
    """`grad_norm` is the norm before."""

    grad_norm: Reported


@tree_rule(numbers=NormNumbers, needs_params=False)
class NormalizeByUpdateNorm(TreeRule):
    scale_factor: Real
    eps: NonNegative
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        return NoSlots(), NormNumbers(start.number(0))

    def update(self, g: Column, slots: NoSlots, was: NormNumbers, x: None, step: Step):
        norm = step.grad_norm()
        length = norm + self.eps
        # In two steps: 1 / length may be beyond the range of floats where g / length is not.
        return (
            [self.scale_factor * safe_divide(each, length) for each in g],
            slots,
            NormNumbers(norm),
        )


@transformation
def normalize_by_update_norm(
    scale_factor: Real = 1.0, eps: NonNegative = 1e-6, *, axis_name: AxisName = None
):
    """Divide updates by their global norm, so that every step has the same length.

    u = scale_factor g / (‖g‖ + eps)

    It ends explosions and hides what vanishes: gradients far above `eps` make full steps, however
    small they are. `grad_norm` in the state, see `funcopt.metrics`, tells.

    Args:
        scale_factor: the length of the step, or a schedule; any finite number.
        eps: added to the norm, at least 0. Zero gradients make no step, with `eps=0` as well.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device divides by the norm of what it holds.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.normalize_by_update_norm()
    >>> tx.update(jnp.array([3e5, 4e5]), tx.init(jnp.zeros(2)))[0]
    Array([0.6, 0.8], dtype=float32)
    """
    return LiftedTree(NormalizeByUpdateNorm(scale_factor, eps, axis_name))
