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
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..averaging.mixed import Gamma, averaged, renewed_average
from ..core.arguments import AxisName, NonNegative, OptionalNonNegative, Rate, Within
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.rule import Exact
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import axpy, held, minus, norm, square_norm
from ..math.safe import safe_divide
from ..math.varying import AxisNames
from ..storage import Storage, check_slots

STEP_KINDS = ("distance", "learning_rate", "heuristic")


def _init_step(where: str, x: Any) -> Any:
    if not isinstance(x, tuple | list) or len(x) != 2 or x[0] not in STEP_KINDS:
        raise ValueError(
            f"{where} must be a pair (kind, number) with a kind among {', '.join(STEP_KINDS)}, "
            f"got {x!r}."
        )
    return x[0], Within(0, math.inf, "()", schedule=False)(f"{where}[1]", x[1])


InitStep = Annotated[tuple[str, ArrayLike], _init_step]


class DogSlots(NamedTuple):
    init_params: Exact
    average: Exact


class DogState(NamedTuple):
    """`lr` is the rate in force, `max_dist` the largest distance from the start so far.

    `average` is the average of all points before the current one, which enters it with
    `average_weight`; None where no average is kept.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    max_dist: Float[Array, ""]
    sum_sq_norm_grads: Float[Array, ""]
    init_params: Params
    average_weight: Float[Array, ""]
    average: Params | None
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "distance": self.max_dist}

    def eval_params(self, params: Params) -> Params:
        return averaged(params, self.average, self.average_weight)


@dataclass(frozen=True)
class _Dog:
    learning_rate: Any
    init_kind: str
    init_size: Any
    eps: Any
    weight_decay: Any
    mask: Any
    average_gamma: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("init_kind", "mask", "axis_name", "storage")

    def init(self, params: Params) -> DogState:
        h, start = Start.of(self, params)
        r = {
            "distance": lambda: h.init_size,
            "heuristic": lambda: h.init_size * (1 + norm(start.wide, start.real, self.axis_name)),
            "learning_rate": lambda: 0.0,
        }[self.init_kind]()
        average = None if self.average_gamma is None else start.copies()
        return DogState(
            count=start.count,
            lr=start.learnt(0.0),
            max_dist=start.learnt(r),
            sum_sq_norm_grads=start.learnt(0.0),
            average_weight=start.scalar(1.0),
            **start.slots(DogSlots, self.storage, init_params=start.copies(), average=average),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DogState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DogState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=DogState, slots=DogSlots, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))
        x, x0 = now.params, now.column(state.init_params)
        real, axis = now.real, self.axis_name

        r = jnp.maximum(state.max_dist, norm(minus(x, x0), real, axis))
        G = state.sum_sq_norm_grads + square_norm(g, real, axis)
        eta = safe_divide(r, jnp.sqrt(G + h.eps))
        if self.init_kind == "learning_rate":
            eta = jnp.where(r > 0, eta, h.init_size)
        lr = h.learning_rate * eta

        average = renewed_average(now, h.average_gamma)
        state = now.renew(lr=lr, max_dist=r, sum_sq_norm_grads=held(G), **average)
        return now.leave([-lr * each for each in g]), state


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
    weight_decay: OptionalNonNegative = None,
    mask: Mask = None,
    *,
    average_gamma: Gamma = 8.0,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Distance over gradients: SGD that needs no rate.

    η = max ‖x_i − x_0‖ / √(Σ ‖g_i‖² + eps) over the whole tree as one vector.

    Args:
        learning_rate: a factor of the rate, at least 0, or a schedule. Leave it at 1.
        init_step: how the first step is sized: `("heuristic", a)` begins with the distance
            a (1 + ‖x_0‖), where the authors suggest a = 1e-6, and 1e-4 with batch normalization;
            `("distance", r)` with r; `("learning_rate", η)` makes the first rate η. Too large a
            first step can diverge.
        eps: at least 0, added to the sum of squared gradients.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do); None is
            none.
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
    check_slots(storage, [DogSlots])
    kind, size = init_step
    return _Dog(
        learning_rate, kind, size, eps, weight_decay, mask, average_gamma, axis_name, storage
    )
