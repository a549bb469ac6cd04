"""ASGD: averaged stochastic gradient descent, with a rate that falls.

    η ← learning_rate / (1 + lambd learning_rate t)^alpha       t is 0 at the first step
    x ← x − η (g + lambd x)
    x̄ ← the mean of x, from step t0 + 2 on; x before

Polyak & Juditsky, 1992 (https://doi.org/10.1137/0330046); the rate and the decay are those of
Bottou's programs, and this is PyTorch's form of them.
"""

from jaxtyping import Array

from ..core.arguments import NonNegativeConstant, Offset
from ..core.optimizer import optimizer
from ..core.schedule import schedule
from ..core.steps import real, since
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from .average import AVERAGE, average


@schedule
def falling(
    learning_rate: NonNegativeConstant, lambd: NonNegativeConstant, alpha: NonNegativeConstant
):
    """The rate of `asgd`.

        learning_rate / (1 + lambd learning_rate step)^alpha

    >>> rate = falling(1.0, 1.0, 0.5)
    >>> [float(rate(step)) for step in (0, 3)]
    [1.0, 0.5]
    """

    def value(step: Array) -> Array:
        first, decay = real(learning_rate), real(lambd)
        return first * (1 + decay * first * real(since(step, 0))) ** -real(alpha)

    return value


@transformation(paper=AVERAGE)
def asgd(
    learning_rate: NonNegativeConstant,
    lambd: NonNegativeConstant = 1e-4,
    alpha: NonNegativeConstant = 0.75,
    t0: Offset = 1_000_000,
    *,
    storage: Storage = None,
):
    """ASGD: gradient descent whose points are averaged, PyTorch's.

    Evaluate at `funcopt.eval_params(tx, state, params)`. For an average beside any optimizer and
    any schedule, see `average`.

    Args:
        learning_rate: the first rate, at least 0; no schedule, since it falls by itself.
        lambd: weight decay, at least 0, which also says how fast the rate falls.
        alpha: the power by which it falls, at least 0. The mean is the better for one between 0.5
            and 1.
        t0: after how many steps the average begins, at least 0. The default is PyTorch's: in most
            trainings it never does.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.asgd(0.5, t0=0), jnp.array([1.0])
    >>> state = tx.init(params)
    >>> for grad in (0.0, 1.0, 1.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    >>> params, funcopt.eval_params(tx, state, params)
    (Array([-0.0...], dtype=float32), Array([0.24...], dtype=float32))

    Source: https://doi.org/10.1137/0330046; PyTorch's ASGD.
    """
    descent = optimizer(Decay(lambd), learning_rate=falling(learning_rate, lambd, alpha))
    return average(descent, kind="uniform", start=t0 + 1, storage=storage)
