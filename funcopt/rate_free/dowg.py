"""DoWG: distance over gradients, each gradient weighted by the distance gone when it came.

    r_t² = max(r_{t-1}², ‖x_t − x_0‖²)
    v_t = v_{t-1} + r_t² ‖g_t‖²
    η_t = r_t² / (√v_t + eps)
    x_{t+1} = x_t − learning_rate η_t g_t

Khaled, Mishchenko & Jin, 2023 (https://arxiv.org/abs/2305.16284), algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..averaging.mixed import Gamma, averaged, renewed_average
from ..core.arguments import AxisName, OptionalNonNegative, Positive, Rate, Within
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.rule import Exact
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import axpy, held, minus, square_norm
from ..math.safe import safe_divide
from ..math.varying import AxisNames
from ..storage import Storage, check_slots

OptionalPositive = Annotated[Any, Within(0, math.inf, "()", schedule=False, optional=True)]


class DowgSlots(NamedTuple):
    init_params: Exact
    average: Exact


class DowgState(NamedTuple):
    """`lr` is the rate in force, `estim_sq_dist` the largest squared distance so far.

    The average is kept as in `DogState`.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    estim_sq_dist: Float[Array, ""]
    weighted_sq_norm_grads: Float[Array, ""]
    init_params: Params
    average_weight: Float[Array, ""]
    average: Params | None
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "distance": jnp.sqrt(self.estim_sq_dist)}

    def eval_params(self, params: Params) -> Params:
        return averaged(params, self.average, self.average_weight)


@dataclass(frozen=True)
class _Dowg:
    learning_rate: Any
    init_estim_sq_dist: Any
    eps: Any
    weight_decay: Any
    mask: Any
    average_gamma: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "axis_name", "storage")

    def init(self, params: Params) -> DowgState:
        h, start = Start.of(self, params)
        first = h.eps if h.init_estim_sq_dist is None else h.init_estim_sq_dist
        average = None if self.average_gamma is None else start.copies()
        return DowgState(
            count=start.count,
            lr=start.learnt(0.0),
            estim_sq_dist=start.learnt(first),
            weighted_sq_norm_grads=start.learnt(0.0),
            average_weight=start.scalar(1.0),
            **start.slots(DowgSlots, self.storage, init_params=start.copies(), average=average),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DowgState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DowgState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=DowgState, slots=DowgSlots, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))
        x, x0 = now.params, now.column(state.init_params)
        real, axis = now.real, self.axis_name

        r2 = jnp.maximum(state.estim_sq_dist, square_norm(minus(x, x0), real, axis))
        v = state.weighted_sq_norm_grads + r2 * square_norm(g, real, axis)
        lr = h.learning_rate * safe_divide(r2, jnp.sqrt(v) + h.eps)

        average = renewed_average(now, h.average_gamma)
        state = now.renew(lr=lr, estim_sq_dist=r2, weighted_sq_norm_grads=held(v), **average)
        return now.leave([-lr * each for each in g]), state


DOWG = Paper(
    "Khaled, Ahmed and Mishchenko, Konstantin and Jin, Chi",
    "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
    2023,
    "https://arxiv.org/abs/2305.16284",
    booktitle=NEURIPS,
)


@transformation(paper=DOWG)
def dowg(
    learning_rate: Rate = 1.0,
    init_estim_sq_dist: OptionalPositive = None,
    eps: Positive = 1e-4,
    weight_decay: OptionalNonNegative = None,
    mask: Mask = None,
    *,
    average_gamma: Gamma = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Distance over weighted gradients: DoG that trusts later gradients more.

    η = r² / (√(Σ r_i² ‖g_i‖²) + eps) with r_i the largest distance from the start so far.

    Args:
        learning_rate: a factor of the rate, at least 0, or a schedule. Leave it at 1.
        init_estim_sq_dist: the squared distance to begin with, above 0; None means `eps`.
        eps: above 0, added to the root of the weighted sum; the paper has none.
        weight_decay: times the parameter, added to the gradient (L2); None is none.
        mask: which parameters decay, as in `add_decayed_weights`.
        average_gamma: γ of a polynomial-decay average for `funcopt.eval_params`, as in `dog`;
            None keeps none. (The paper's guarantee is for an average that is weighted by r².)
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dowg(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2305.16284, algorithm 1.
    """
    check_slots(storage, [DowgSlots])
    return _Dowg(
        learning_rate, init_estim_sq_dist, eps, weight_decay, mask, average_gamma, axis_name,
        storage,
    )  # fmt: skip
