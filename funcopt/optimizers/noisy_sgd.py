"""Noisy gradient descent: noise on every gradient, less and less of it.

    u = g + N(0, eta / tᵞ)

Neelakantan et al., 2015, eq. 1 (https://arxiv.org/abs/1511.06807): `add_noise` before `sgd`.
"""

from ..core.arguments import AxisName, NonNegative, Rate, Seed
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..transforms.add_noise import GRADIENT_NOISE, AddNoise


@transformation(paper=GRADIENT_NOISE)
def noisy_sgd(
    learning_rate: Rate,
    eta: NonNegative = 0.01,
    gamma: NonNegative = 0.55,
    key: Seed = 0,
    *,
    axis_name: AxisName = None,
):
    """Gradient descent with annealed noise, which leaves saddles and poor starting points.

    Args:
        learning_rate: at least 0, or a schedule.
        eta, gamma, key, axis_name: as in `add_noise`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.noisy_sgd(0.1, key=7), jnp.zeros(1000)
    >>> params, state = funcopt.step(tx, jnp.ones(1000), tx.init(params), params)
    >>> float(jnp.mean(params)), float(jnp.std(params))
    (-0.1..., 0.01...)

    Source: https://arxiv.org/abs/1511.06807, eq. 1.
    """
    return optimizer(AddNoise(eta, gamma, key, axis_name), learning_rate=learning_rate)
