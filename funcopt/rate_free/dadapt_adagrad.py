"""AdaGrad with D-Adaptation: the rate is the way to the solution, as far as it is proven.

    λ = d learning_rate
    s ← s + λ g                          a ← a + |g|²
    n ← n + λ² Σ |g|² / (√a + eps)
    d̂ = (Σ |s|² / (√a + eps) − n) / ‖s‖₁
    d ← max(d, d̂), growing at most by growth_rate
    x ← momentum x + (1 − momentum) (x_0 − s / (√a + eps))

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 3, in the form of the
authors' code.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive, Rate
from ..core.paths import Mask
from ..core.rule import Accumulator, Divisor, Exact
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import Column, abs_sum, axpy, ratio
from ..math.moments import abs_sq
from ..math.norm import squarable
from ..math.varying import AxisNames
from ..optimizers.adagrad import sum_of_squares
from ..storage import Storage, check_slots
from .estimate import GrowthRate, raised, towards


class DAdaptAdagradSlots(NamedTuple):
    grad_sum: Exact
    sum_of_squares: Accumulator
    init_params: Exact


class DAdaptAdagradState(NamedTuple):
    """`lr` is the rate in force, a factor of what AdaGrad's denominators leave."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    d: Float[Array, ""]
    numerator: Float[Array, ""]
    grad_sum: Params
    sum_of_squares: Params
    init_params: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "d": self.d}


@dataclass(frozen=True)
class _DAdaptAdagrad:
    learning_rate: Any
    momentum: Any
    initial_accumulator_value: Any
    eps: Any
    estim_lr0: Any
    weight_decay: Any
    growth_rate: Any
    mask: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "axis_name", "storage")
    state: ClassVar = DAdaptAdagradState

    def divides_by(self, state: DAdaptAdagradState) -> Divisor:
        del state  # it is all in the hyperparameters
        return Divisor(sum_of_squares, None, self.eps, forgets=False)

    def init(self, params: Params) -> DAdaptAdagradState:
        h, start = Start.of(self, params)
        d = start.learnt(h.estim_lr0)
        return DAdaptAdagradState(
            count=start.count,
            lr=start.learnt(d * h.learning_rate),
            d=d,
            numerator=start.learnt(0.0),
            **start.slots(
                DAdaptAdagradSlots,
                self.storage,
                grad_sum=start.zeros(),
                sum_of_squares=start.full(h.initial_accumulator_value),
                init_params=start.copies(),
            ),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptAdagradState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptAdagradState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=DAdaptAdagradState,
            slots=DAdaptAdagradSlots, value=value, metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        x, x0 = now.params, now.column(state.init_params)
        real, axis = now.real, self.axis_name
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))
        g = [squarable(x) for x in g]

        lr = state.d * h.learning_rate
        state = now.renew(
            sum_of_squares=axpy(1, [abs_sq(x) for x in g], now.column(state.sum_of_squares)),
            grad_sum=axpy(lr, g, now.column(state.grad_sum)),
        )
        root = [jnp.sqrt(each) + h.eps for each in now.column(state.sum_of_squares)]
        s = now.column(state.grad_sum)
        n = state.numerator + lr**2 * _over(g, root, real, axis)
        d_hat = ratio(_over(s, root, real, axis) - n, abs_sum(s, real, axis))
        # A step of rate 0 proves nothing.
        d_hat = jnp.where(lr > 0, d_hat, state.d)
        d = raised(state.d, d_hat, h.growth_rate)

        state = now.renew(state, lr=lr, d=d, numerator=n)
        s = [b / c for b, c in zip(s, root, strict=True)]
        return now.leave(towards(x, x0, s, h.momentum)), state


def _over(xs: Column, roots: Column, real: Any, axis_name: AxisNames) -> Float[Array, ""]:
    """Σ |x|² / root."""
    squares = [abs_sq(x) / root for x, root in zip(xs, roots, strict=True)]
    return abs_sum(squares, real, axis_name)


@transformation
def dadapt_adagrad(
    learning_rate: Rate = 1.0,
    momentum: DecayRate = 0.0,
    initial_accumulator_value: NonNegative = 1e-6,
    eps: Positive = 1e-6,
    estim_lr0: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """AdaGrad with D-Adaptation: it estimates its own rate.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        momentum: in [0, 1), by primal averaging: x ← momentum x + (1 − momentum) z.
        initial_accumulator_value: what the sums of squares begin with, at least 0.
        eps: above 0, added to their roots.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do).
        mask: which parameters decay, as in `add_decayed_weights`.
        growth_rate: at least 1, the most by which d grows in one step.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; sums and the starting
            point are kept in full.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: the weighted sum of gradients,
    the sum of squares and the starting point.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_adagrad(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 3, and
    https://github.com/facebookresearch/dadaptation.
    """
    check_slots(storage, [DAdaptAdagradSlots])
    return _DAdaptAdagrad(
        learning_rate, momentum, initial_accumulator_value, eps, estim_lr0, weight_decay,
        growth_rate, mask, axis_name, storage,
    )  # fmt: skip
