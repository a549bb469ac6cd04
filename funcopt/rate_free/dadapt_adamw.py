"""AdamW with D-Adaptation: the rate is the way to the solution, as far as it is proven.

    η = d learning_rate c                c = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
    n ← √β₂ n + (1 − √β₂) η ⟨g, s / (√v + eps)⟩
    m ← β₁ m + (1 − β₁) η g              v ← β₂ v + (1 − β₂) |g|²
    s ← √β₂ s + (1 − √β₂) η g
    d̂ = n / ((1 − √β₂) ‖s‖₁)             d ← max(d, d̂), growing at most by growth_rate
    x ← x − m / (√v + eps) − η λ x

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithm 5, in the form of the
authors' code.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, Flag, NonNegative, Positive, Rate
from ..core.paths import Mask
from ..core.rule import Accumulator, Divisor, Exact, Signed
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import abs_sum, ratio, vdot
from ..math.moments import abs_sq, ema
from ..math.varying import AxisNames
from ..optimizers.moment_slots import mean_square
from ..storage import check_slots
from .estimate import Betas, GrowthRate, WideStorage, bias_correction, raised


class DAdaptAdamSlots(NamedTuple):
    mu: Signed
    nu: Accumulator
    grad_sum: Exact


class DAdaptAdamState(NamedTuple):
    """`lr` is the rate in force."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    d: Float[Array, ""]
    numerator: Float[Array, ""]
    mu: Params
    nu: Params
    grad_sum: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "d": self.d}


@dataclass(frozen=True)
class _DAdaptAdamw:
    learning_rate: Any
    b1: Any
    b2: Any
    eps: Any
    estim_lr0: Any
    weight_decay: Any
    growth_rate: Any
    mask: Any
    bias_correction: bool
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "bias_correction", "axis_name", "storage")
    state: ClassVar = DAdaptAdamState

    def divides_by(self, state: DAdaptAdamState) -> Divisor:
        del state  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps)

    def init(self, params: Params) -> DAdaptAdamState:
        h, start = Start.of(self, params)
        d = start.learnt(h.estim_lr0)
        return DAdaptAdamState(
            count=start.count,
            lr=start.learnt(d * h.learning_rate),
            d=d,
            numerator=start.learnt(0.0),
            **start.slots(
                DAdaptAdamSlots,
                self.storage,
                mu=start.zeros(),
                nu=start.zeros(real=True),
                grad_sum=start.zeros(),
            ),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptAdamState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptAdamState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=DAdaptAdamState,
            slots=DAdaptAdamSlots,
            value=value,
            metric=metric,
            gate=gate,
        )
        state = now.state
        g, v, s = now.grads, now.column(state.nu), now.column(state.grad_sum)
        real, axis = now.real, self.axis_name
        root_b2 = h.b2**0.5
        fresh = (1 - h.b2) / (1 + root_b2)  # 1 − √β₂, of which a difference leaves few digits

        corrected = bias_correction(h.b1, h.b2, now.clock.t, real) if self.bias_correction else 1.0
        lr = state.d * h.learning_rate * corrected
        scaled = [a / (jnp.sqrt(b) + h.eps) for a, b in zip(s, v, strict=True)]
        n = root_b2 * state.numerator + fresh * lr * vdot(g, scaled, real, axis)
        m = [ema(a, lr * b, h.b1) for a, b in zip(now.column(state.mu), g, strict=True)]
        v = [ema(a, abs_sq(b), h.b2) for a, b in zip(v, g, strict=True)]
        s = [root_b2 * a + fresh * lr * b for a, b in zip(s, g, strict=True)]
        state = now.renew(mu=m, nu=v, grad_sum=s)
        d_hat = ratio(n, fresh * abs_sum(now.column(state.grad_sum), real, axis))
        d = raised(state.d, d_hat, h.growth_rate)

        decay = now.decay(h.weight_decay, self.mask)
        state = now.renew(state, lr=lr, d=d, numerator=n)
        m, v = now.column(state.mu), now.column(state.nu)
        steps = [-(a / (jnp.sqrt(b) + h.eps) + lr * c) for a, b, c in zip(m, v, decay, strict=True)]
        return now.leave(steps), state


@transformation
def dadapt_adamw(
    learning_rate: Rate = 1.0,
    betas: Betas = (0.9, 0.999),
    eps: Positive = 1e-8,
    estim_lr0: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: WideStorage = None,
):
    """AdamW with D-Adaptation: it estimates its own rate. `prodigy` is faster at it.

    Args:
        learning_rate: a factor of the estimate, at least 0, or a schedule; leave it at 1, or let
            it fall from 1.
        betas: decay rates of the means of gradients and of squares, in [0, 1).
        eps: above 0, added to the root.
        estim_lr0: the first estimate d of the distance to the solution, an underestimate.
        weight_decay: times the parameter and the rate, as in AdamW (the authors' `decouple`).
        mask: which parameters decay, as in `add_decayed_weights`.
        bias_correction: multiply the rate by Adam's bias correction. optax always does, the
            authors do only when asked.
        growth_rate: at least 1, the most by which d grows in one step; 1.02 is suggested where
            training is unstable.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`: `"bfloat16"` is for the
            mean of gradients, sums and squares are kept in full. float16 does not reach down
            to the first steps and is refused.

    `funcopt.metrics` has the rate in force as `lr`, and `d`. Slots: mean, mean square and weighted
    sum of gradients. As long as all gradients or all rates were 0 the estimate is left alone,
    where optax (0.2.8) divides zero by zero.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dadapt_adamw(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(400):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2301.07733, algorithm 5, and
    https://github.com/facebookresearch/dadaptation.
    """
    check_slots(storage, [DAdaptAdamSlots])
    b1, b2 = betas
    return _DAdaptAdamw(
        learning_rate,
        b1,
        b2,
        eps,
        estim_lr0,
        weight_decay,
        growth_rate,
        mask,
        bias_correction,
        axis_name,
        storage,
    )
