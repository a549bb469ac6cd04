"""RMSprop: the rule of `scale_by_rms` or `scale_by_stddev`, momentum where asked for, and a rate.

Tieleman & Hinton, 2012, lecture 6e of "Neural Networks for Machine Learning".
"""

from ..core.arguments import (
    DecayRate,
    Flag,
    NonNegative,
    NonNegativeConstant,
    OptionalDecayRate,
    Rate,
)
from ..core.optimizer import optimizer
from ..core.rule import Rule
from ..core.transformation import transformation
from ..storage import Storage
from .scale_by_rms import RMSPROP, Rms
from .scale_by_stddev import CenteredRms
from .sgd import Momentum


@transformation(paper=RMSPROP)
def rmsprop(
    learning_rate: Rate,
    decay: DecayRate = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegativeConstant = 0.0,
    eps_in_sqrt: Flag = True,
    centered: Flag = False,
    momentum: OptionalDecayRate = None,
    nesterov: Flag = False,
    bias_correction: Flag = False,
    *,
    storage: Storage = None,
):
    """RMSprop, optionally centered and with momentum.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        decay: of the mean squared gradient, in [0, 1). PyTorch's default is 0.99.
        eps: keeps the division finite, at least 0.
        initial_scale: what the mean square starts from, at least 0.
        eps_in_sqrt: add eps inside the root (as optax) or outside (as PyTorch). Inside, it acts
            on gradients below √eps.
        centered: divide by the standard deviation instead of the root mean square.
        momentum: in [0, 1), a schedule, or None for none. Its trace holds directions, as in
            PyTorch; optax's holds steps, with the learning rate of their time in them.
        nesterov: look one momentum step ahead.
        bias_correction: divide the means by their total weight.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.rmsprop(0.01, decay=0.99, eps_in_sqrt=False)
    >>> tx.update(jnp.array([30.0]), tx.init(jnp.zeros(1)))[0]
    Array([-0.1], dtype=float32)

    Source: https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
    """
    rule_ = CenteredRms if centered else Rms
    rules: list[Rule] = [rule_(decay, eps, initial_scale, eps_in_sqrt, bias_correction)]
    if momentum is not None:
        rules.append(Momentum(momentum, nesterov))
    elif nesterov:
        raise ValueError("rmsprop: nesterov=True needs momentum=, for example 0.9.")
    return optimizer(*rules, learning_rate=learning_rate, storage=storage)
