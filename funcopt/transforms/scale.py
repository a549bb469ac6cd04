"""Multiply by a number: the smallest rule.

u ← step_size u
"""

from jaxtyping import Array, Inexact

from ..core.arguments import Flag, Rate, Real
from ..core.optimizer import lift, optimizer
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation


@rule(acts_on="element")
class Scale(Rule):
    step_size: Real

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the product needs the update alone
        return self.step_size * grad, slots

    def multiplies_by(self, shape: tuple[int, ...]) -> Real:
        del shape  # it is the same for all
        return self.step_size


@transformation
def scale(step_size: Real):
    """Multiply updates by a number: finite, or a schedule.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.scale(-0.5)
    >>> tx.update(jnp.array([2.0]), tx.init(jnp.zeros(1)))[0]
    Array([-1.], dtype=float32)
    """
    return lift(Scale(step_size))


@transformation
def scale_by_learning_rate(learning_rate: Rate, *, flip_sign: Flag = True):
    """Multiply by minus the learning rate: `descend` by its name in optax.

    With `flip_sign=False` it is `scale`.

    >>> import funcopt
    >>> funcopt.scale_by_learning_rate(0.1)
    scale_by_learning_rate(learning_rate=0.1)
    """
    return optimizer(learning_rate=learning_rate) if flip_sign else lift(Scale(learning_rate))
