"""Optimistic gradient descent, and Adam: a step, and what it has changed by.

    x ← x − learning_rate u      u as in `scale_by_optimistic_gradient`, of g or of Adam's step

Mokhtari, Ozdaglar & Pattathil, 2020 (https://arxiv.org/abs/1901.08511); Daskalakis, Ilyas,
Syrgkanis & Zeng, 2018 (https://arxiv.org/abs/1711.00141).
"""

from ..core.arguments import DecayRate, DType, Flag, NonNegative, Rate, Real
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from .nadam import Nadam
from .scale_by_adam import Adam
from .scale_by_optimistic_gradient import OPTIMISTIC, OPTIMISTIC_ADAM, Optimistic


@transformation(paper=OPTIMISTIC)
def optimistic_gradient_descent(
    learning_rate: Rate, alpha: Real = 1.0, beta: Real = 1.0, *, storage: Storage = None
):
    """Optimistic gradient descent: gradient descent for games, where players' losses are opposed.

    Args:
        learning_rate: at least 0, or a schedule.
        alpha: how many times the gradient counts.
        beta: how many times its change counts. The paper's has both at 1; 0 is gradient descent.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    One player makes x y small, the other makes it large. Gradient descent circles outwards:

    >>> import funcopt, jax, jax.numpy as jnp
    >>> def far(tx):
    ...     def step(carry, _):
    ...         (x, y), state = carry
    ...         return funcopt.step(tx, (y, -x), state, (x, y)), None
    ...     start = (jnp.array(1.0), jnp.array(1.0))
    ...     (end, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=300)
    ...     return funcopt.global_norm(end)
    >>> far(funcopt.sgd(0.1)) > 5, far(funcopt.optimistic_gradient_descent(0.1)) < 0.5
    (Array(True, dtype=bool), Array(True, dtype=bool))

    Source: https://arxiv.org/abs/1901.08511.
    """
    return optimizer(Optimistic(alpha, beta), learning_rate=learning_rate, storage=storage)


@transformation(paper=OPTIMISTIC_ADAM)
def optimistic_adam_v2(
    learning_rate: Rate,
    *,
    alpha: Real = 1.0,
    beta: Real = 1.0,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    nesterov: Flag = True,
    storage: Storage = None,
):
    """Optimistic Adam: Adam whose direction looks ahead by what it has changed by.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        alpha, beta: as in `optimistic_gradient_descent`, of Adam's direction; the paper's has both
            at 1.
        b1, b2, eps, eps_root, mu_dtype, storage: as in `adam`.
        nesterov: whether Adam looks ahead as `nadam` does. The default is optax's; the paper's Adam
            does not.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.optimistic_adam_v2(0.1, nesterov=False), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.9], dtype=float32)

    Source: https://arxiv.org/abs/1711.00141, Algorithm 1.
    """
    adam = Nadam(b1, b2, eps, eps_root) if nesterov else Adam(b1, b2, eps, eps_root)
    return optimizer(
        adam,
        Optimistic(alpha, beta),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
