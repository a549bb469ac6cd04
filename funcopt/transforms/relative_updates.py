"""Relative updates: a step of a matrix is as long as the matrix, times the learning rate.

    W ← W + learning_rate ‖W‖ unit(s)       s the optimizer's step, unit(x) = x / ‖x‖ of Frobenius

They are `hyperball`'s without its sphere: Wen et al., 2026 (https://arxiv.org/abs/2606.16899). A
matrix that is zero takes the optimizer's steps, as vectors do.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, Base
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import after_steps
from ..core.paths import Mask
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..math.norm import norm
from ..math.varying import norm_across
from .hyperball import HYPERBALL, unit


@rule(acts_on="array", needs_params=True)
class RelativeUpdate(Rule):
    """η ‖W‖ unit(s); an optimizer applies it to its step."""

    axis_name: AxisName = None

    place = "last"

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        if param.ndim < 2:
            return grad, slots
        assert clock.lr is not None
        size, far = (norm_across(norm(x), self.axis_name) for x in (param, grad))
        relative = times(clock.lr * size, unit(grad, far))
        return jnp.where(size > 0, relative, grad), slots


@transformation(paper=HYPERBALL)
def relative_updates(
    inner: Base, mask: Mask = None, *, layer_axis: LayerAxis = None, axis_name: AxisName = None
):
    """Relative updates: each step of a matrix is as long as the matrix, times the learning rate.

    As `hyperball` without the sphere: norms may grow. Arguments and errors are those of it. It is
    `scale_by_trust_ratio` after momentum and decay, for any optimizer.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.relative_updates(funcopt.sgd(0.5)), {"kernel": 2 * jnp.eye(2)}
    >>> grads = {"kernel": jnp.array([[0.0, 5.0], [-5.0, 0.0]])}
    >>> tx.update(grads, tx.init(params), params)[0]["kernel"]
    Array([[-0., -1.],
           [ 1., -0.]], dtype=float32)

    Source: https://arxiv.org/abs/2606.16899.
    """
    rule_ = masked(mask, RelativeUpdate(axis_name))
    return after_steps("relative_updates", inner, rule_, layer_axis)
