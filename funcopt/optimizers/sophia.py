"""Sophia: the mean gradient over the curvature of each element, but no further than a bound.

    x ← x − learning_rate (u + weight_decay x)      u as in `scale_by_sophia`

Liu et al., 2024, Algorithm 3 (https://arxiv.org/abs/2305.14342): Sophia-H with an estimate of the
curvature by Hutchinson, Sophia-G by Gauss, Newton and Bartlett.
"""

from ..core.arguments import DecayRate, DType, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_sophia import SOPHIA, Sophia


@transformation(paper=SOPHIA)
def sophia(
    learning_rate: Rate,
    b1: DecayRate = 0.965,
    b2: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask = None,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative = 1.0,
    *,
    mu_dtype: DType = None,
    storage: Storage = None,
):
    """Sophia: the mean gradient over the Hessian's diagonal, with a bound for each element.

    An estimate of that diagonal is an argument of `update`, about once in ten steps; `None` at the
    others. `hutchinson_diagonal` makes one of any loss, `gauss_newton_bartlett_diagonal` of
    the logits of a classifier or a language model. Before the first one steps are signs. Behind
    `accumulate`, only an estimate counts that comes with the update that makes the step.

    Args:
        learning_rate: how long the longest step in an element is, times `clip_threshold`; at least
            0, or a schedule. The paper's is a little less than AdamW's would be.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean estimate, in [0, 1), from one estimate to the next.
        eps: the least curvature, at least 0, which stands for a negative one, too.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`; the paper's is 0.2.
        mask: which parameters decay, see `add_decayed_weights`.
        gamma: how many times the curvature counts, at least 0: the larger, the fewer elements are
            bounded. The paper's is 0.01 for Hutchinson's estimate, 0.05 for the other; such that
            the updates of 10 to 50 % of all elements are below the bound.
        clip_threshold: the largest magnitude of a direction, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters or without `hessian_diagonal=`, or a parameter has no leaf of
            its shape in it.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 100.0]) * w**2)
    >>> tx, w = funcopt.sophia(0.1, gamma=1.0, b1=0.0, b2=0.0), jnp.array([0.5, 0.5])
    >>> curvature = funcopt.hutchinson_diagonal(loss, w, jax.random.key(0))
    >>> updates, state = tx.update(jax.grad(loss)(w), tx.init(w), w, hessian_diagonal=curvature)
    >>> updates
    Array([-0.05..., -0.05...], dtype=float32)
    >>> updates, state = tx.update(jax.grad(loss)(w), state, w, hessian_diagonal=None)

    Source: https://arxiv.org/abs/2305.14342, Algorithm 3.
    """
    return optimizer(
        Sophia(b1, b2, eps, gamma, clip_threshold),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
