"""SignSGD: step every element equally far, along the sign of its gradient.

    u = sign(g)

Bernstein et al., 2018, Algorithm 1 (https://arxiv.org/abs/1802.04434). The sign of 0 is 0, that of
a complex number g / |g|. `signum` takes the sign of the mean gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Rate
from ..core.optimizer import lift, optimizer
from ..core.paper import ICML, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation


@rule(acts_on="element")
class Sign(Rule):
    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the sign looks only at the gradient
        return jnp.sign(grad), slots


SIGN_SGD = Paper(
    "Bernstein, Jeremy and Wang, Yu-Xiang and Azizzadenesheli, Kamyar and Anandkumar, Animashree",
    "signSGD: Compressed Optimisation for Non-Convex Problems",
    2018,
    "https://arxiv.org/abs/1802.04434",
    booktitle=ICML,
)


@transformation(paper=SIGN_SGD)
def scale_by_sign():
    """The sign of each element, as a building block: 0 where the update is 0.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.scale_by_sign(), funcopt.add_decayed_weights(0.1))
    >>> tx.update(jnp.array([3.0, -1e-6]), tx.init(jnp.ones(2)), jnp.ones(2))[0]
    Array([ 1.1, -0.9], dtype=float32)
    """
    return lift(Sign())


@transformation(paper=SIGN_SGD)
def sign_sgd(learning_rate: Rate):
    """SignSGD: every element steps equally far, along the sign of its gradient; no slot.

    Args:
        learning_rate: the length of a step in each element, at least 0; or a schedule. The noise of
            a gradient whose mean is 0 moves parameters as far: let it decay.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.sign_sgd(0.1), jnp.array([1.0, -1.0])
    >>> tx.update(jnp.array([5.0, -0.01]), tx.init(params), params)[0]
    Array([-0.1,  0.1], dtype=float32)

    Source: https://arxiv.org/abs/1802.04434, Algorithm 1.
    """
    return optimizer(Sign(), learning_rate=learning_rate)
