"""Schedule-free learning: averaging in place of a decaying rate.

    z ← z + base update at y      y and the average as in `schedule_free_step`

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682).
"""

from ..core.arguments import Base, DType, NonNegative, OpenDecayRate, OptionalNonNegative
from ..core.paper import NEURIPS, Paper
from ..core.transformation import transformation
from ..storage import Storage
from .schedule_free_step import ScheduleFree, made_schedule_free

SCHEDULE_FREE = Paper(
    "Defazio, Aaron and Yang, Xingyu Alice and Mehta, Harsh and Mishchenko, Konstantin and "
    "Khaled, Ahmed and Cutkosky, Ashok",
    "The Road Less Scheduled",
    2024,
    "https://arxiv.org/abs/2405.15682",
    booktitle=NEURIPS,
)


@transformation(paper=SCHEDULE_FREE)
def schedule_free(
    base_optimizer: Base,
    learning_rate: OptionalNonNegative = None,
    b1: OpenDecayRate = 0.9,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Make an optimizer schedule-free: average its steps instead of letting its rate decay.

    Train and take gradients at the parameters as usual; evaluate and serve at
    `funcopt.eval_params(tx, state, params)`. Warm up, but do not decay. Statistics of batch
    normalization belong to the evaluated parameters: collect them again before evaluating.

    Args:
        base_optimizer: a funcopt or optax optimizer without momentum, which this takes the place
            of: `sgd(rate)`, `rmsprop(rate, 0.999, bias_correction=True, eps_in_sqrt=False)`.
        learning_rate: by which steps are weighted in the average. None takes the rate in force
            from the base optimizer's state, so that the two never differ; an optax optimizer does
            not tell its rate, so give it here again.
        b1: in (0, 1), or a schedule: how much of the average is in the parameters; it takes the
            place of momentum. 0.9 to 0.98.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    optax (0.2.8) reads the rate of the weights one step later than its base optimizer does, and
    keeps sums in the parameters' dtype; both are as in the authors' code here.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.schedule_free(funcopt.sgd(0.5)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(funcopt.eval_params(tx, state, params)["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    rule = ScheduleFree(learning_rate, b1, weight_lr_power, None)
    return made_schedule_free(base_optimizer, rule, state_dtype, storage)
