"""Stochastic rounding: a step that is too small for half precision is taken sometimes, whole.

    x ← p + inner update
    p ← one of the two neighbours of x in bfloat16, the nearer one with the higher probability, so
        that the mean is x

Gupta et al., 2015 (https://arxiv.org/abs/1502.02551). Nothing is kept: which one is a function of
the parameter's path, the element's index and the step.
"""

from jaxtyping import Array

from ..core.arguments import Base
from ..core.paper import Paper
from ..core.record import record
from ..core.transformation import transformation
from ..math.rounding import rounded_to_bfloat16
from .landing import Way, Weights


@record
class StochasticRounding(Way):
    @property
    def half(self) -> tuple[str, ...]:
        return ("bfloat16",)

    @property
    def instead(self) -> str:
        return 'Give master_weights(..., kind="float32") or kahan(...), or train in bfloat16.'

    def draws(self, kept: None) -> bool:
        del kept  # nothing is
        return True

    def moved(
        self, update: Array, x: Array, param: Array, kept: None, noise: Array
    ) -> tuple[Array, None]:
        del param, kept  # x is the parameter
        return rounded_to_bfloat16(x + update, noise), None


GUPTA = Paper(
    "Gupta, Suyog and Agrawal, Ankur and Gopalakrishnan, Kailash and Narayanan, Pritish",
    "Deep Learning with Limited Numerical Precision",
    2015,
    "https://arxiv.org/abs/1502.02551",
    booktitle="International Conference on Machine Learning",
)


@transformation(paper=GUPTA)
def stochastic_rounding(inner: Base):
    """Round bfloat16 parameters by chance, so that small steps count on average.

    The optimizer inside computes float32 updates for float32 parameters, and their sum is rounded
    up or down such that its mean is exact. Nothing is kept beside the parameters: 2 bytes each,
    where `master_weights` needs 3 or 4 and has no noise. Put it around all that makes the step.

    Args:
        inner: the optimizer, funcopt's or optax's.

    The chance is a function of path, index and step, so that a run that is resumed goes on as it
    would have, and replicas agree. Parameters in float32 or wider are left to `inner`. Updates of
    the others are float32, and land as those of `master_weights` do. In `jax.shard_map` an index is
    that in the shard: shards draw alike.

    Raises:
        ValueError: a parameter is float16; `update` was called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stochastic_rounding(funcopt.sgd(1e-3)), jnp.ones(1000, "bfloat16")
    >>> state = tx.init(params)
    >>> for _ in range(10):
    ...     params, state = funcopt.step(tx, jnp.ones(1000, "bfloat16"), state, params)
    >>> round(float(params.astype("float32").mean()), 3)
    0.99

    Source: https://arxiv.org/abs/1502.02551.
    """
    return Weights(inner, StochasticRounding())
