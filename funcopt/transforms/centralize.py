"""Gradient centralisation: the gradient of each output's weights has mean zero.

    u = g − mean(g)      along all axes but that of the outputs

Yong, Huang, Hua & Zhang, 2020, eq. 1 (https://arxiv.org/abs/2004.01461). There, as in PyTorch,
outputs come first; JAX's layers keep them last, (in, out) and (height, width, in, out). Biases and
gains, of one axis, stay as they are.
"""

from dataclasses import field

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Axes, AxisName
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.varying import mean_across


@rule(acts_on="array")
class Centralize(Rule):
    axis: Axes = None
    axis_name: AxisName = field(default=None, metadata={"static": True})

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the mean needs the update alone
        if grad.ndim <= 1:
            return grad, slots
        axis = tuple(range(grad.ndim - 1)) if self.axis is None else self.axis
        mean = mean_across(jnp.mean(grad, axis=axis, keepdims=True), self.axis_name)
        return grad - mean, slots


CENTRALIZATION = Paper(
    "Yong, Hongwei and Huang, Jianqiang and Hua, Xiansheng and Zhang, Lei",
    "Gradient Centralization: A New Optimization Technique for Deep Neural Networks",
    2020,
    "https://arxiv.org/abs/2004.01461",
    booktitle="European Conference on Computer Vision",
)


@transformation(paper=CENTRALIZATION)
def centralize(axis: Axes = None, *, axis_name: AxisName = None):
    """Gradient centralization: subtract from each output's gradient its mean.

    u = g − mean(g), along all axes but that of the outputs

    Args:
        axis: along which axes to take the mean. None: all but the last, which is right for JAX's
            layouts, (in, out) and (height, width, in, out). optax takes all but the first, which
            is right for PyTorch's.
        axis_name: the axes of `jax.shard_map` over which gradients are sharded by hand along axes
            that the mean is taken of, as in `global_norm`: FSDP's, where it splits inputs. A mesh
            axis that splits outputs stays out. None: each device subtracts the mean of what it
            holds, and no type tells.

    Arrays of one axis or none stay as they are. The mean is taken in float32 or wider.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.centralize()
    >>> kernel = jnp.array([[1.0, 10.0], [3.0, 30.0]])
    >>> tx.update(kernel, tx.init(kernel))[0]
    Array([[ -1., -10.],
           [  1.,  10.]], dtype=float32)

    Source: https://arxiv.org/abs/2004.01461, eq. 1.
    """
    return lift(Centralize(axis, axis_name))
