"""Signum: step every element equally far, along the sign of its mean gradient.

    ema ← beta ema + (1 − beta) g
    u = sign(ema)

Bernstein et al., 2018, Section 4 (https://arxiv.org/abs/1802.04434). The sign of 0 is 0, that of a
complex number z / |z|.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, Rate
from ..core.optimizer import optimizer
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import ema
from ..storage import Storage, with_slot
from .sign_sgd import SIGN_SGD


class SignumSlots(NamedTuple):
    ema: Signed


@rule(acts_on="element", slots=SignumSlots, decay_of={"ema": "beta"})
class Signum(Rule):
    beta: DecayRate = 0.9

    def init(self, param: Inexact[Array, "*p"]) -> SignumSlots:
        return SignumSlots(ema=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: SignumSlots, param, clock: Clock):
        del param  # Signum looks only at gradients
        slots = clock.renew(slots, ema=ema(slots.ema, grad, self.beta))
        return jnp.sign(slots.ema), slots


@transformation(paper=SIGN_SGD)
def signum(
    learning_rate: Rate,
    beta: DecayRate = 0.9,
    accumulator_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Signum: every element steps equally far, along the sign of its mean gradient.

    It is `lion` with equal betas, without its weight decay.

    Args:
        learning_rate: the length of a step in each element, at least 0; or a schedule.
        beta: decay of the mean gradient, in [0, 1).
        accumulator_dtype: the dtype in which the mean is kept, None for that of the arithmetic.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.signum(0.1), jnp.array([1.0, -1.0])
    >>> params, state = funcopt.step(tx, jnp.array([5.0, -0.01]), tx.init(params), params)
    >>> tx.update(jnp.array([-1.0, -0.01]), state, params)[0]
    Array([-0.1,  0.1], dtype=float32)

    Source: https://arxiv.org/abs/1802.04434, Section 4.
    """
    return optimizer(
        Signum(beta),
        learning_rate=learning_rate,
        storage=with_slot(storage, "ema", accumulator_dtype),
    )
