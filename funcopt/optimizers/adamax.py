"""Adamax: Adam with a decaying maximum in place of the root mean square.

    x ← x − learning_rate u      u as in `scale_by_adamax`; `adamaxw` decays x beside it

Kingma & Ba, 2015, Algorithm 2 (https://arxiv.org/abs/1412.6980).
"""

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_adam import ADAM
from .scale_by_adamax import Adamax


@transformation(paper=ADAM)
def adamax(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    *,
    storage: Storage = None,
):
    """Adamax: Adam with a decaying maximum of the gradient in place of its root mean square.

    Outliers are not averaged away.

    Args:
        learning_rate: the longest step in each element, at least 0; or a schedule. The paper's
            and PyTorch's default is 0.002.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the magnitude of each gradient, at least 0.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.adamax(0.5)
    >>> tx.update(jnp.array([30.0]), tx.init(jnp.zeros(1)))[0]
    Array([-0.5], dtype=float32)

    Source: https://arxiv.org/abs/1412.6980, Algorithm 2.
    """
    return optimizer(Adamax(b1, b2, eps), learning_rate=learning_rate, storage=storage)


@transformation(paper=ADAM)
def adamaxw(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """AdamaxW: Adamax with decoupled weight decay.

    Args:
        learning_rate: the longest step in each element, at least 0; or a schedule. It multiplies
            the decay too.
        b1, b2, eps, storage: as in `adamax`.
        weight_decay: at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt
    >>> funcopt.adamaxw(2e-3, weight_decay=0.1, mask="!bias|scale")
    adamaxw(learning_rate=0.002, weight_decay=0.1, mask='!bias|scale')

    Source: https://arxiv.org/abs/1412.6980, Algorithm 2; https://arxiv.org/abs/1711.05101 for the
    decay.
    """
    return optimizer(
        Adamax(b1, b2, eps),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=storage,
    )
