"""Clipping by the norm of each leaf.

    u = min(1, max_norm / ‖g‖) g      for each leaf g

As by the global norm (https://arxiv.org/abs/1211.5063, Algorithm 1), but a leaf with large
gradients does not shorten the others.
"""

from dataclasses import field
from typing import Any, ClassVar

from jaxtyping import Array

from ..core.arguments import AxisName, Threshold
from ..core.record import record
from ..core.transformation import transformation
from ..math.norm import Axes
from ..math.varying import AxisNames
from .unit_clip import Measured, UnitClip, unit_norm


@record
class _Norm:
    max_norm: Any
    axis_name: AxisNames = field(metadata={"static": True})

    needs_params = False
    static: ClassVar = ("axis_name",)

    def axes(self, shape: tuple[int, ...], layer: int | None) -> Axes:
        del shape, layer  # a leaf is one unit
        return None

    def __call__(self, grad: Array, param: Array | None, axes: Axes) -> Measured:
        del param  # the bound is the same for all leaves
        return Measured(unit_norm(grad, axes, self.axis_name), self.max_norm)


@transformation
def clip_by_norm(max_norm: Threshold, *, axis_name: AxisName = None):
    """Shorten each leaf whose norm is above `max_norm`; its direction stays.

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
    return UnitClip(_Norm(max_norm, axis_name))
