"""From rules to what users hold: a chain of rules, and the descent at its end."""

from jax import lax
from jaxtyping import Array, Inexact

from ..math.moments import times
from ..storage import Storage
from .arguments import Rate
from .lift import Lifted, Where
from .rule import Clock, Rule, rule
from .transformation import transformation


@rule(acts_on="element")
class Descend(Rule):
    """Go against the update, as far as the learning rate says: the only minus sign there is."""

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param  # a step of gradient descent looks only at the direction
        assert clock.lr is not None
        # The other way round, XLA would keep a negative rate for every parameter.
        return lax.neg(times(clock.lr, grad)), slots


@transformation
def lift(*rules: Rule | Where, storage: Storage = None):
    """Make a chain of rules a transformation of a pytree.

    Args:
        rules: applied to every leaf, one after the other.
        storage: how slots are kept between steps, see `funcopt.storage`.

    >>> import funcopt
    >>> funcopt.lift(funcopt.Clip(1.0), funcopt.Momentum(0.9))
    lift(Clip(max_delta=1.0), Momentum(decay=0.9, nesterov=False))
    """
    return Lifted(rules, None, storage)


@transformation
def optimizer(*rules: Rule | Where, learning_rate: Rate, storage: Storage = None):
    """Make a chain of rules an optimizer: lift it, and descend at its end.

    Args:
        rules: applied to every leaf, one after the other.
        learning_rate: what the outcome is multiplied by, before it is subtracted.
        storage: how slots are kept between steps, see `funcopt.storage`.

    >>> import funcopt
    >>> tx = funcopt.optimizer(funcopt.Adam(b1=0.8), funcopt.Decay(0.1), learning_rate=1e-3)
    >>> funcopt.current_lr(tx.init({"w": 0.0}))
    Array(0.001, dtype=float32)
    """
    return Lifted((*rules, Descend()), learning_rate, storage)


@transformation
def descend(learning_rate: Rate):
    """Multiply by minus the learning rate: the last member of a chain that is an optimizer.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.descend(0.5)
    >>> tx.update(jnp.array([2.0]), tx.init(jnp.zeros(1)))[0]
    Array([-1.], dtype=float32)
    """
    return optimizer(learning_rate=learning_rate)
