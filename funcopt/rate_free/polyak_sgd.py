"""The stochastic Polyak step: as far as the loss is above what can be reached.

    η = scaling min( (f(x) − f*) / (‖g‖² + eps), max_learning_rate )
    x ← x − η g

Loizou, Vaswani, Laradji & Lacoste-Julien, 2020 (https://arxiv.org/abs/2002.10542), eq. 3, SPS_max;
their 1/c is `scaling`. With the positive part of f(x) − f*, SPS₊: Garrigos, Gower & Schaipp, 2023
(https://arxiv.org/abs/2307.14528).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, Choice, NonNegative, Rate, Real
from ..core.transformation import transformation
from ..core.turn import Start, Turn, loss_value
from ..math.columns import ratio, square_norm
from ..math.varying import AxisNames

VariantName = Literal["sps", "sps+"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class PolyakState(NamedTuple):
    """`lr` is the rate that the last loss asked for."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr}


@dataclass(frozen=True)
class _Polyak:
    max_learning_rate: Any
    scaling: Any
    f_min: Any
    eps: Any
    variant: str
    axis_name: AxisNames

    static: ClassVar = ("variant", "axis_name")

    def init(self, params: Params) -> PolyakState:
        _, start = Start.of(self, params)
        return PolyakState(start.count, start.learnt(0.0), start.feedback)

    def update(
        self,
        updates: Updates,
        state: PolyakState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, PolyakState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=PolyakState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        g, real, axis = now.grads, now.real, self.axis_name

        gap = loss_value("polyak_sgd", value, real, axis) - h.f_min
        gap = jnp.maximum(gap, 0) if self.variant == "sps+" else gap
        lr = h.scaling * jnp.minimum(
            ratio(gap, square_norm(g, real, axis) + h.eps), h.max_learning_rate
        )  # fmt: skip

        return now.leave([-lr * each for each in g]), now.renew(lr=lr)


@transformation
def polyak_sgd(
    max_learning_rate: Rate = 1.0,
    scaling: Rate = 1.0,
    f_min: Real = 0.0,
    eps: NonNegative = 0.0,
    variant: Variant = "sps",
    *,
    axis_name: AxisName = None,
):
    """SGD with the stochastic Polyak step. `update` needs the loss as `value=`.

    η = scaling min((value − f_min) / (‖g‖² + eps), max_learning_rate)

    Args:
        max_learning_rate: the largest step, at least 0, or a schedule.
        scaling: a factor of the step, at least 0, or a schedule; the paper's 1/c, with c = 1/2
            for its experiments.
        f_min: a lower bound of the loss, 0 where the model can interpolate the data.
        eps: at least 0, added to the squared norm of the gradient.
        variant: `"sps+"` does not step while the loss is below `f_min`; `"sps"` then climbs.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    A zero gradient makes no step. (optax makes none either where the squared norm is below
    2.2e-16, and so stops short.)

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.polyak_sgd(), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(5):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(funcopt.current_lr(state)), float(loss(params))
    (0.25, 0.01367...)

    Source: https://arxiv.org/abs/2002.10542, eq. 3.
    """
    return _Polyak(max_learning_rate, scaling, f_min, eps, variant, axis_name)
