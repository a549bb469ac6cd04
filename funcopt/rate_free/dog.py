"""DoG: the rate is the distance gone over the gradients met.

    x ← x + u      u as in `dog_step`; evaluated is an average of x, see `average`

Ivgi, Hinder & Carmon, 2023 (https://arxiv.org/abs/2302.12022).
"""

from ..averaging.kinds import Gamma
from ..averaging.running_average import within_average
from ..core.arguments import AxisName, NonNegative, Rate
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .dog_step import Dog, InitStep
from .estimate import OptionalFoundRateDecay

DOG = Paper(
    "Ivgi, Maor and Hinder, Oliver and Carmon, Yair",
    "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
    2023,
    "https://arxiv.org/abs/2302.12022",
    booktitle=ICML,
)


@transformation(paper=DOG)
def dog(
    learning_rate: Rate = 1.0,
    init_step: InitStep = ("heuristic", 1e-6),
    eps: NonNegative = 1e-8,
    weight_decay: OptionalFoundRateDecay = None,
    mask: Mask = None,
    *,
    average_gamma: Gamma = 8.0,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """DoG (distance over gradients): SGD that sets its own learning rate.

    η = max ‖x_i − x_0‖ / √(Σ ‖g_i‖² + eps) over the whole tree as one vector.

    Args:
        learning_rate: a factor of the rate, at least 0, or a schedule. Leave it at 1.
        init_step: how the first step is sized: `("heuristic", a)` begins with the distance
            a (1 + ‖x_0‖), where the authors suggest a = 1e-6, and 1e-4 with batch normalization;
            `("distance", r)` with r; `("learning_rate", η)` makes the first rate η. Too large a
            first step can diverge.
        eps: at least 0, added to the sum of squared gradients.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do); or one of
            `funcopt.decays`, but for `corrected`, since the largest rate is not known before. None
            is none.
        mask: which parameters decay, as in `add_decayed_weights`.
        average_gamma: γ of the polynomial-decay average that `funcopt.eval_params` returns; None
            keeps none and saves its memory. The authors call averaging crucial.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
            With `("heuristic", a)`, `init` looks at all shards too: call it inside of `shard_map`.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Slots: the starting point and the average, in float32 for half-precision parameters. A first
    step that a bfloat16 parameter rounds away leaves the distance, and so the rate, where they
    are: begin larger, or keep the parameters in float32.

    optax keeps no average and sums norms in the parameters' dtype. Where the first rate is given
    and the first gradients are zero, optax is stuck; this waits for the first that is not.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.dog(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(300):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(funcopt.eval_params(tx, state, params)["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2302.12022, eq. 2 and section 4.
    """
    step_kind, size = init_step
    own, other = own_and_other(weight_decay, L2Decay)
    rule = Dog(learning_rate, step_kind, size, eps, own, mask, axis_name)
    return within_average(rule, average_gamma, storage, other)
