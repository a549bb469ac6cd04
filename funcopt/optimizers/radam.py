"""RAdam: Adam that begins as momentum, until its second moment has seen enough gradients.

    x ← x − learning_rate u      u as in `scale_by_radam`

Liu et al., 2020, Algorithm 2 (https://arxiv.org/abs/1908.03265).
"""

from ..core.arguments import DecayRate, Flag, NonNegative, OpenDecayRate, Rate
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..storage import Storage
from .scale_by_radam import RADAM, Radam, Threshold


@transformation(paper=RADAM)
def radam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: OpenDecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    threshold: Threshold = 5.0,
    *,
    nesterov: Flag = False,
    storage: Storage = None,
):
    """RAdam: rectified Adam, which needs no warm-up of the learning rate.

    The first steps, five with the default `b2`, are those of momentum: they grow with gradients.
    Then it is Adam, with a factor that rises from about 0 to 1.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in (0, 1). At 2/3 and below, ρ_t never comes to 5.
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        threshold: the length of the mean square, ρ_t, from which on it is trusted, at least 4. The
            paper has 4.
        nesterov: look ahead as `nadam` does.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.radam(0.1), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.8], dtype=float32)

    Source: https://arxiv.org/abs/1908.03265, Algorithm 2.
    """
    rule_ = Radam(b1, b2, eps, eps_root, threshold, nesterov)
    return optimizer(rule_, learning_rate=learning_rate, storage=storage)
