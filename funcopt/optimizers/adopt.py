"""ADOPT: Adam that divides by the squares of the gradients before, and only then takes the mean.

    x ← x − learning_rate u      u as in `scale_by_adopt`

Taniguchi et al., 2024, Algorithm 2 (https://arxiv.org/abs/2411.02853).
"""

from ..core.arguments import DecayRate, DType, Flag, NonNegative, OptionalThreshold, Rate
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from .scale_by_adopt import ADOPT, Adopt


@transformation(paper=ADOPT)
def adopt(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.9999,
    eps: NonNegative = 1e-6,
    mu_dtype: DType = None,
    *,
    nesterov: Flag = False,
    use_clipping: Flag = True,
    clip_value: OptionalThreshold = None,
    storage: Storage = None,
):
    """ADOPT: Adam in an order in which it converges for every `b2`.

    The first update is 0: its gradient only begins the second moment.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: the least that a gradient is divided by, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        nesterov: look one step ahead.
        use_clipping: whether the adapted gradient is clipped; the first version of the paper did
            not.
        clip_value: the bound, at least 0; a schedule, such as optax's `clip_value_fn`; or None for
            step^¼, with 0 for the first step.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adopt(0.1, b1=0.0), jnp.array([1.0])
    >>> state = tx.init(params)
    >>> for grad in (2.0, 1.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    ...     print(params)
    [1.]
    [0.95]

    Source: https://arxiv.org/abs/2411.02853, Algorithm 2.
    """
    rule_ = Adopt(b1, b2, eps, nesterov, use_clipping, clip_value)
    return optimizer(rule_, learning_rate=learning_rate, storage=with_slot(storage, "mu", mu_dtype))
