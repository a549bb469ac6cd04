"""Adam: step each element by its mean gradient over its root-mean-square gradient.

    x ← x − learning_rate u      u as in `scale_by_adam`

Kingma & Ba, 2015, Algorithm 1 (https://arxiv.org/abs/1412.6980).
"""

from ..core.arguments import DecayRate, DType, Flag, NonNegative, Rate
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from .scale_by_adam import ADAM, adam_rule


@transformation(paper=ADAM)
def adam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    nesterov: Flag = False,
    bias_correction: Flag = True,
    atan2: Flag = False,
    storage: Storage = None,
):
    """Adam: the running mean of gradients over the root of the running mean of their squares.

    A good first choice where gradients are noisy or badly scaled.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0; a small one makes the update differentiable
            at zero gradients.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        nesterov: look ahead as `nadam` does.
        bias_correction: divide the moments by their total weight. Without it, the first steps are
            (1 − b1) / √(1 − b2) times as long: about three times with the defaults.
        atan2: Adam-atan2 (Everett et al., 2024): u = 4/π atan2(mu_hat, √nu_hat), which needs no
            `eps`, is the same at every scale of gradients, and at most 2 in each element.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `nesterov` or
            an `eps` is given with `atan2`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.adam(0.1)
    >>> params = jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([ 0.9, -1.9], dtype=float32)

    Source: https://arxiv.org/abs/1412.6980, Algorithm 1.
    """
    rule_ = adam_rule(b1, b2, eps, eps_root, nesterov, bias_correction, atan2)
    return optimizer(rule_, learning_rate=learning_rate, storage=with_slot(storage, "mu", mu_dtype))
