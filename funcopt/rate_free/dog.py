"""DoG: the rate is the distance gone over the gradients met.

    r_t = max(r_{t-1}, ‖x_t − x_0‖)
    G_t = G_{t-1} + ‖g_t‖²
    η_t = r_t / √(G_t + eps)
    x_{t+1} = x_t − learning_rate η_t g_t

    x̄_t = (1 − w_t) x̄_{t-1} + w_t x_t,  w_t = (1 + γ) / (t + γ)       the average to evaluate

Ivgi, Hinder & Carmon, 2023 (https://arxiv.org/abs/2302.12022), eq. 2 and section 4; the average is
that of Shamir & Zhang, 2013 (https://arxiv.org/abs/1212.1824).
"""

import math
from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp

from ..averaging.average import Gamma, within_average
from ..core.arguments import (
    AxisName,
    NonNegative,
    OptionalNonNegative,
    Positive,
    Rate,
    Within,
)
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_rule import (
    ExactColumn,
    Number,
    Reported,
    ReportedAs,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, held, minus, scaled
from ..math.safe import safe_divide
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .estimate import OptionalFoundRateDecay

StepKind = Literal["distance", "learning_rate", "heuristic"]
STEP_KINDS = get_args(StepKind)


def _init_step(where: str, x: object) -> tuple[StepKind, Positive]:
    if not isinstance(x, tuple | list) or len(x) != 2 or x[0] not in STEP_KINDS:
        raise ValueError(
            f"{where} must be a pair (kind, number) with a kind among {', '.join(STEP_KINDS)}, "
            f"got {x!r}."
        )
    return x[0], Within(0, math.inf, "()", schedule=False)(f"{where}[1]", x[1])


InitStep = Annotated[tuple[StepKind, Positive], _init_step]


class DogSlots(NamedTuple):
    init_params: ExactColumn


class DogNumbers(NamedTuple):
    """`lr` is the rate in force, `max_dist` the largest distance from the start so far."""

    lr: Reported
    max_dist: Annotated[Number, ReportedAs("distance")]
    sum_sq_norm_grads: Number


@tree_rule(slots=DogSlots, numbers=DogNumbers)
class Dog(TreeRule):
    learning_rate: NonNegative
    init_kind: StepKind
    init_size: Positive
    eps: NonNegative
    weight_decay: OptionalNonNegative
    mask: Mask
    axis_name: AxisName

    decays_by = "l2"

    def init(self, x: Column, start: Start):
        r = 0 if self.init_kind == "learning_rate" else self.init_size
        if self.init_kind == "heuristic":
            r = r * (1 + start.norm(x))
        return DogSlots(x), DogNumbers(*map(start.number, (0, r, 0)))

    def update(self, g: Column, slots: DogSlots, was: DogNumbers, x: Column, step: Step):
        g = axpy(1, g, step.decay(self.weight_decay, self.mask))
        r = jnp.maximum(was.max_dist, step.norm(minus(x, slots.init_params)))
        G = was.sum_sq_norm_grads + step.square_norm(g)
        eta = safe_divide(r, jnp.sqrt(G + self.eps))
        if self.init_kind == "learning_rate":
            eta = jnp.where(r > 0, eta, self.init_size)
        lr = self.learning_rate * eta
        return scaled(-lr, g), slots, DogNumbers(lr, r, held(G))


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
