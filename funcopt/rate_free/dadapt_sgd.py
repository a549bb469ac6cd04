"""SGD with D-Adaptation: the rate is the way to the solution, as far as it is proven.

    λ = d learning_rate / ‖g_0‖
    n ← n + λ ⟨g, s⟩                     how far the gradients have agreed
    s ← s + λ g
    d̂ = 2 n / ‖s‖                        d ← max(d, d̂), growing at most by growth_rate
    x ← momentum x + (1 − momentum) (x_0 − s)

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 4, in the form of the
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
from ..core.rule import Exact
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import axpy, norm, ratio, vdot
from ..math.varying import AxisNames
from ..storage import Storage, check_slots
from .estimate import GrowthRate, raised, towards


class DAdaptSgdSlots(NamedTuple):
    grad_sum: Exact
    init_params: Exact


class DAdaptSgdState(NamedTuple):
    """`lr` is the rate in force, `grad_norm` that of the first gradient that was not zero."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    d: Float[Array, ""]
    grad_norm: Float[Array, ""]
    numerator: Float[Array, ""]
    grad_sum: Params
    init_params: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "d": self.d}


@dataclass(frozen=True)
class _DAdaptSgd:
    learning_rate: Any
    momentum: Any
    estim_lr0: Any
    weight_decay: Any
    growth_rate: Any
    mask: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "axis_name", "storage")

    def init(self, params: Params) -> DAdaptSgdState:
        h, start = Start.of(self, params)
        return DAdaptSgdState(
            count=start.count,
            lr=start.learnt(0.0),
            d=start.learnt(h.estim_lr0),
            grad_norm=start.learnt(0.0),
            numerator=start.learnt(0.0),
            **start.slots(
                DAdaptSgdSlots,
                self.storage,
                grad_sum=start.zeros(),
                init_params=start.copies(),
            ),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptSgdState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptSgdState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=DAdaptSgdState,
            slots=DAdaptSgdSlots,
            value=value,
            metric=metric,
            gate=gate,
        )
        state = now.state
        x, x0, s = now.params, now.column(state.init_params), now.column(state.grad_sum)
        real, axis = now.real, self.axis_name
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))

        g0 = jnp.where(state.grad_norm > 0, state.grad_norm, norm(now.grads, real, axis))
        lr = ratio(state.d * h.learning_rate, g0)
        n = state.numerator + lr * vdot(g, s, real, axis)
        state = now.renew(grad_sum=axpy(lr, g, s))
        s = now.column(state.grad_sum)
        d = raised(state.d, 2 * ratio(n, norm(s, real, axis)), h.growth_rate)

        state = now.renew(state, lr=lr, d=d, grad_norm=g0, numerator=n)
        return now.leave(towards(x, x0, s, h.momentum)), state


@transformation
def dadapt_sgd(
    learning_rate: Rate = 1.0,
    momentum: DecayRate = 0.0,
    estim_lr0: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """SGD with D-Adaptation: it estimates its own rate.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        momentum: in [0, 1), by primal averaging: x ← momentum x + (1 − momentum) z.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter, added to the gradient (L2, as the authors do).
        mask: which parameters decay, as in `add_decayed_weights`.
        growth_rate: at least 1, the most by which d grows in one step; 1.02 is suggested where
            training is unstable.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; a sum of gradients and the
            starting point are kept in full.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: the weighted sum of gradients
    and the starting point.

    The first gradient's norm scales all rates; it is taken without decay, as the authors' code
    does. Where that gradient is zero, their code divides by zero; here the first one that is not
    zero takes its place. Their code stops at a first rate of 0, this waits.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_sgd(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 4, and
    https://github.com/facebookresearch/dadaptation.
    """
    check_slots(storage, [DAdaptSgdSlots])
    return _DAdaptSgd(
        learning_rate, momentum, estim_lr0, weight_decay, growth_rate, mask, axis_name, storage
    )
