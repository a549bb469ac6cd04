"""Projection: after each step parameters are brought back into the set that they shall be in.

    u ← P(x + u) − x

Rosen, 1960 (https://doi.org/10.1137/0108011), the gradient projection method, where u is a step of
gradient descent; the same after any other step is heuristic, for which P is of the wrong norm.
"""

from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.masked import masked
from ..core.optimizer import lift
from ..core.paths import Mask
from ..core.record import Static
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation


def _projection(where: str, x: object) -> object:
    if not callable(x) or isinstance(x, type):
        raise TypeError(
            f"{where} must be a function of one parameter, such as `lambda x: jnp.clip(x, 0, 1)`, "
            f"got {x!r}."
        )
    return x


Projection = Annotated[Callable[[Array], Array], _projection, Static]


@rule(acts_on="array", needs_params=True)
class Project(Rule):
    projection: Projection

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # what comes is a step, with the rate in it
        target = jnp.asarray(self.projection(param + grad))
        if target.shape != param.shape:
            raise ValueError(
                f"project: the projection returned an array of shape {target.shape} for a "
                f"parameter of shape {param.shape}; expected the same shape."
            )
        return target.astype(param.dtype) - param, slots


@transformation
def project(projection: Projection, mask: Mask = None):
    """Project parameters after each step: `chain(adam(0.1), project(f))` steps to f(x + u).

    Place it last, after the learning rate.

    Args:
        projection: a function of one parameter, `f(x)`, to an array of its shape; a projection,
            f(f(x)) = f(x). The same function makes the same value: give one that is defined once.
        mask: which parameters are projected, see `add_decayed_weights`.

    Raises:
        ValueError: `update` was called without parameters, or a pattern matches none; the function
            returned another shape.
        TypeError: `projection` is no function.

    `apply_updates` adds a difference to the parameter, so that parameters land where the function
    says where that is 0 or within a factor of two of where they were, else within one rounding of
    the step, which is that of their dtype.

    >>> import funcopt, jax.numpy as jnp
    >>> def unit_box(x):
    ...     return jnp.clip(x, 0.0, 1.0)
    >>> tx, params = funcopt.chain(funcopt.sgd(1.0), funcopt.project(unit_box)), jnp.array([0.5])
    >>> params, state = funcopt.step(tx, jnp.array([-3.0]), tx.init(params), params)
    >>> params
    Array([1.], dtype=float32)
    """
    return lift(masked(mask, Project(projection)))
