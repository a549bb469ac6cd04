"""Parameters that stay at or above zero: the projection after each step that is exact.

u ← max(u, −x)
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.optimizer import lift
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation


@rule(acts_on="element", needs_params=True)
class KeepNonnegative(Rule):
    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # what comes is a step, with the rate in it
        if jnp.iscomplexobj(param):
            raise TypeError(
                f"keep_params_nonnegative: a parameter has dtype {param.dtype.name}, and complex "
                "numbers have no order. Keep its real part, or take it out by funcopt.masked."
            )
        return jnp.where(param + grad < 0, -param, grad), slots


@transformation
def keep_params_nonnegative():
    """Keep parameters at or above zero: a step that would end below ends at exactly zero.

    Place it last, after the learning rate: `chain(adam(0.1), keep_params_nonnegative())`.

    For some of the parameters, `lift(masked("kernel", rules.KeepNonnegative()))`.

    Raises:
        ValueError: `update` was called without parameters.
        TypeError: a parameter is complex.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.sgd(1.0), funcopt.keep_params_nonnegative())
    >>> params = jnp.array([0.3, 0.3])
    >>> params, state = funcopt.step(tx, jnp.array([1.0, 0.1]), tx.init(params), params)
    >>> params
    Array([0. , 0.2], dtype=float32)
    """
    return lift(KeepNonnegative())
