"""AMSGrad: Adam whose denominator never shrinks.

    x ← x − learning_rate u      u as in `scale_by_amsgrad`

Reddi, Kale & Kumar, 2018, Algorithm 2 (https://arxiv.org/abs/1904.09237).
"""

from ..core.arguments import DecayRate, DType, NonNegative, Rate
from ..core.optimizer import optimizer
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from .scale_by_amsgrad import AMSGRAD, Amsgrad, Variant


@transformation(paper=AMSGRAD)
def amsgrad(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    variant: Variant = "optax",
    storage: Storage = None,
):
    """AMSGrad: Adam that divides by the root of the largest second moment so far.

    Rare large gradients keep counting.

    Args:
        learning_rate: at least 0, or a schedule.
        b1, b2, eps, eps_root, mu_dtype, storage: as in `adam`.
        variant: "optax", "pytorch" or "paper"; the module's docstring has the equations.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.amsgrad(0.5, variant="pytorch")
    >>> tx.update(jnp.array([30.0]), tx.init(jnp.zeros(1)))[0]
    Array([-0.5], dtype=float32)

    Source: https://arxiv.org/abs/1904.09237, Algorithm 2.
    """
    rule_ = Amsgrad(b1, b2, eps, eps_root, variant)
    return optimizer(rule_, learning_rate=learning_rate, storage=with_slot(storage, "mu", mu_dtype))
