"""Decoupled weight decay: pull each parameter towards zero, apart from the gradient.

    u ← u + weight_decay p

Placed after an adaptive rule and before the descent, it is the decay of AdamW, multiplied by the
learning rate as in PyTorch: Loshchilov & Hutter, 2019 (https://arxiv.org/abs/1711.05101), who
multiply it by the schedule only. Placed first, before momentum and scaling, it is the gradient of
an L2 penalty, which is what `weight_decay` means in PyTorch's SGD, Adam, RMSprop and Adagrad.
"""

from jaxtyping import Array, Inexact

from ..core.arguments import Real
from ..core.masked import masked
from ..core.optimizer import lift
from ..core.paths import Mask
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation


@rule(acts_on="element", needs_params=True)
class Decay(Rule):
    weight_decay: Real = 0.0

    decays_by = "here"

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # `descend` multiplies decay by the learning rate
        return grad + self.weight_decay * param, slots


@transformation
def add_decayed_weights(weight_decay: Real = 0.0, mask: Mask = None):
    """Weight decay as a building block: add `weight_decay` times the parameter to the update.

    Args:
        weight_decay: a finite number, or a schedule; below 0 it pushes away from zero.
        mask: which parameters decay: all (None), a regular expression or several searched in the
            path (with a leading "!": all but these), a predicate `(path, leaf) -> bool`, a
            function `params -> tree of bools`, or a tree of bools.

    Raises:
        ValueError: `update` was called without parameters, or a pattern matches none.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.add_decayed_weights(0.1, mask="!bias")
    >>> params = {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}
    >>> grads = {"kernel": jnp.array([0.0]), "bias": jnp.array([0.0])}
    >>> tx.update(grads, tx.init(params), params)[0]
    {'bias': Array([0.], dtype=float32), 'kernel': Array([0.2], dtype=float32)}
    """
    return lift(masked(mask, Decay(weight_decay)))
