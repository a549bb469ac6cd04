"""Rprop: every element has a step size of its own, which grows while its gradient keeps its sign.

    agreement = g · sign(g before)
    step_sizes ← clip(step_sizes · (eta_plus, eta_minus or 1), min_step_size, max_step_size)
                                            where agreement is above, below or at 0
    g ← 0                                   where it is below: no step, and none is remembered
    x ← x − step_sizes sign(g)

Riedmiller & Braun, 1993 (https://doi.org/10.1109/ICNN.1993.298623), in the form without going back
of Igel & Hüsken, 2000 (iRprop⁻), which is PyTorch's. A complex gradient agrees by the real part of
its product with the conjugate of the sign before.
"""

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import (
    Hyperparameter,
    NonNegative,
    NonNegativeConstant,
    OpenDecayRate,
    Within,
)
from ..core.optimizer import subtracted
from ..core.paper import Paper
from ..core.rule import Accumulator, Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import full_real
from ..storage import Storage

Growth = Annotated[Hyperparameter, Within(1, math.inf, "()")]


class RpropSlots(NamedTuple):
    step_sizes: Accumulator
    prev_sign: Signed


@rule(acts_on="element", slots=RpropSlots)
class Rprop(Rule):
    learning_rate: NonNegativeConstant
    eta_minus: OpenDecayRate = 0.5
    eta_plus: Growth = 1.2
    min_step_size: NonNegative = 1e-6
    max_step_size: NonNegative = 50.0

    def init(self, param: Inexact[Array, "*p"]) -> RpropSlots:
        first = full_real(param, self.learning_rate)
        return RpropSlots(step_sizes=first, prev_sign=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: RpropSlots, param, clock: Clock):
        del param  # Rprop looks only at gradients
        sign = jnp.sign(grad)
        agreement = jnp.real(sign * jnp.conj(slots.prev_sign))
        turned = agreement < 0
        factor = jnp.where(turned, self.eta_minus, jnp.where(agreement > 0, self.eta_plus, 1))
        sizes = slots.step_sizes * factor.astype(slots.step_sizes.dtype)
        slots = clock.renew(
            slots,
            step_sizes=jnp.clip(sizes, self.min_step_size, self.max_step_size),
            prev_sign=jnp.where(turned, 0, sign),
        )
        return slots.step_sizes * slots.prev_sign, slots


RPROP = Paper(
    "Riedmiller, Martin and Braun, Heinrich",
    "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    1993,
    "https://doi.org/10.1109/ICNN.1993.298623",
    booktitle="IEEE International Conference on Neural Networks",
)


@transformation(paper=RPROP)
def rprop(
    learning_rate: NonNegativeConstant,
    eta_minus: OpenDecayRate = 0.5,
    eta_plus: Growth = 1.2,
    min_step_size: NonNegative = 1e-6,
    max_step_size: NonNegative = 50.0,
    *,
    storage: Storage = None,
):
    """Rprop: step sizes of each element by the signs of its gradients, for full batches.

    With gradients of small batches, whose signs are noise, step sizes shrink to nothing.

    Args:
        learning_rate: the first step size of every element, at least 0; no schedule, since step
            sizes choose themselves from there on.
        eta_minus: what a step size is multiplied by where the sign changes, in (0, 1).
        eta_plus: what it is multiplied by where the sign stays, above 1.
        min_step_size, max_step_size: the bounds of step sizes, at least 0.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; the bounds
            cross.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.rprop(0.1), jnp.array([1.0, 1.0])
    >>> state = tx.init(params)
    >>> for grads in ([5.0, 1.0], [0.1, -1.0]):
    ...     params, state = funcopt.step(tx, jnp.array(grads), state, params)
    ...     print(params)
    [0.9 0.9]
    [0.78 0.9 ]

    Source: https://doi.org/10.1109/ICNN.1993.298623; PyTorch's Rprop.
    """
    bounds = [x for x in (min_step_size, max_step_size) if isinstance(x, int | float)]
    if sorted(bounds) != bounds:
        raise ValueError(f"rprop: min_step_size must be at most max_step_size, got {bounds}.")
    rule_ = Rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size)
    return subtracted(rule_, learning_rate=learning_rate, layer_axis=None, storage=storage)
