"""Prodigy: Adam whose rate is an estimate of the distance to the solution.

    η_t = d_t learning_rate c_t            c_t = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
    r ← β₃ r + (d/d₀) η ⟨g, x_0 − x⟩       what the way so far has earned
    s ← β₃ s + (d/d₀) η g
    m ← β₁ m + (1 − β₁) d g
    v ← β₂ v + (1 − β₂) d² |g|²
    d̂ = coefficient r / ‖s‖₁               d_{t+1} = max(d_t, d̂), growing at most by growth_rate
    x ← x − η ( m / (√v + d_{t+1} eps) + λ x )

Mishchenko & Defazio, 2023 (https://arxiv.org/abs/2306.06101), the Adam version, with the
discounts β₃ = √β₂ and the factor d/d₀, which keeps small numbers from underflowing.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, Flag, NonNegative, OptionalDecayRate, Positive, Rate
from ..core.paths import Mask
from ..core.rule import Accumulator, Divisor, Exact, Signed
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.columns import abs_sum, axpy, minus, ratio, vdot
from ..math.moments import abs_sq, ema
from ..math.varying import AxisNames
from ..optimizers.moment_slots import mean_square
from ..storage import check_slots
from .estimate import Betas, GrowthRate, WideStorage, bias_correction, grown


class ProdigySlots(NamedTuple):
    mu: Signed
    nu: Accumulator
    grad_sum: Exact
    init_params: Exact


class ProdigyState(NamedTuple):
    """`lr` is the rate in force, d times the learning rate; `d_max` the largest estimate so far."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    d: Float[Array, ""]
    d_max: Float[Array, ""]
    numerator: Float[Array, ""]
    mu: Params
    nu: Params
    grad_sum: Params
    init_params: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "d": self.d}


@dataclass(frozen=True)
class _Prodigy:
    learning_rate: Any
    b1: Any
    b2: Any
    beta3: Any
    eps: Any
    estim_lr0: Any
    estim_lr_coef: Any
    weight_decay: Any
    safeguard_warmup: bool
    mask: Any
    bias_correction: bool
    growth_rate: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("safeguard_warmup", "mask", "bias_correction", "axis_name", "storage")
    state: ClassVar = ProdigyState

    def divides_by(self, state: ProdigyState) -> Divisor:
        # The squares are of d g, and grow with d.
        return Divisor(mean_square, self.b2, state.d * self.eps, forgets=False)

    def init(self, params: Params) -> ProdigyState:
        h, start = Start.of(self, params)
        d0 = start.learnt(h.estim_lr0)
        return ProdigyState(
            count=start.count,
            lr=start.learnt(d0 * h.learning_rate),
            d=d0,
            d_max=start.learnt(h.estim_lr0),
            numerator=start.learnt(0.0),
            **start.slots(
                ProdigySlots,
                self.storage,
                mu=start.zeros(),
                nu=start.zeros(real=True),
                grad_sum=start.zeros(),
                init_params=start.copies(),
            ),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: ProdigyState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ProdigyState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=ProdigyState,
            slots=ProdigySlots,
            value=value,
            metric=metric,
            gate=gate,
        )
        state = now.state
        g, x, x0 = now.grads, now.params, now.column(state.init_params)
        real, axis = now.real, self.axis_name
        b3 = h.b2**0.5 if h.beta3 is None else h.beta3
        d, d0 = state.d, h.estim_lr0

        corrected = bias_correction(h.b1, h.b2, now.clock.t, real) if self.bias_correction else 1.0
        lr = d * h.learning_rate * corrected
        weight = d / d0 * (d if self.safeguard_warmup else lr)
        r = b3 * state.numerator + d / d0 * lr * vdot(g, minus(x0, x), real, axis)
        s = [b3 * a + weight * b for a, b in zip(now.column(state.grad_sum), g, strict=True)]
        m = [ema(a, d * b, h.b1) for a, b in zip(now.column(state.mu), g, strict=True)]
        v = [ema(a, abs_sq(d * b), h.b2) for a, b in zip(now.column(state.nu), g, strict=True)]

        state = now.renew(mu=m, nu=v, grad_sum=s)
        d_hat = h.estim_lr_coef * ratio(r, abs_sum(now.column(state.grad_sum), real, axis))
        d_max = jnp.maximum(state.d_max, d_hat)
        # The authors let the first rise through whatever growth_rate says.
        start = jnp.where(d == d0, jnp.maximum(d, d_hat), d)
        d = jnp.minimum(d_max, grown(start, h.growth_rate))

        state = now.renew(state, lr=lr, d=d, d_max=d_max, numerator=r)
        m, v = now.column(state.mu), now.column(state.nu)
        u = [a / (jnp.sqrt(b) + d * h.eps) for a, b in zip(m, v, strict=True)]
        u = axpy(1, u, now.decay(h.weight_decay, self.mask))
        return now.leave([-lr * each for each in u]), state


@transformation
def prodigy(
    learning_rate: Rate = 1.0,
    betas: Betas = (0.9, 0.999),
    beta3: OptionalDecayRate = None,
    eps: Positive = 1e-8,
    estim_lr0: Positive = 1e-6,
    estim_lr_coef: Positive = 1.0,
    weight_decay: NonNegative = 0.0,
    safeguard_warmup: Flag = False,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: WideStorage = None,
):
    """Prodigy: Adam that estimates its own rate d, the distance from the start to the solution.

    Args:
        learning_rate: a factor of d, at least 0; leave it at 1, or give a schedule that falls
            from 1 (the authors suggest a cosine).
        betas: decay rates of the means of gradients and of squares, in [0, 1).
        beta3: decay rate of the sums that estimate d, in [0, 1); None means the root of the
            second of `betas`.
        eps: above 0, times d added to the root.
        estim_lr0: the first d, an underestimate.
        estim_lr_coef: a factor of every estimate, usually between 0.5 and 2.
        weight_decay: times the parameter and the rate, as in AdamW.
        safeguard_warmup: take the learning rate out of the denominator of the estimate; True is
            suggested with a warm-up.
        mask: which parameters decay, as in `add_decayed_weights`.
        bias_correction: multiply the rate by Adam's bias correction. optax always does, the
            authors do only when asked.
        growth_rate: at least 1, the most by which d grows in one step, the first rise aside.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`: `"bfloat16"` is for the
            mean of gradients, sums and the starting point are kept in full. float16 does not
            reach down to the first steps and is refused.

    `funcopt.metrics` has the rate in force as `lr`, and `d`: it should rise quickly, then stay.
    Slots: mean, mean square, sum of gradients, starting point, float32 for half-precision
    parameters. In bfloat16 parameters the first steps, of size d, may round away and nothing is
    learnt about the distance: give a larger `estim_lr0`, or keep the parameters in float32.

    As long as no gradient and no rate was above 0, the estimate is left alone: a schedule from 0
    and zero gradients are fine, where optax (0.2.8) divides zero by zero. At a later rate of 0
    the authors' code keeps everything as it is, this goes on averaging. Their `slice_p`, which
    thins out two slots, is left out.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.prodigy(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> float(funcopt.metrics(state)["d"]) > 0.1
    True

    Source: https://arxiv.org/abs/2306.06101, and https://github.com/konstmish/prodigy.
    """
    check_slots(storage, [ProdigySlots])
    b1, b2 = betas
    return _Prodigy(
        learning_rate, b1, b2, beta3, eps, estim_lr0, estim_lr_coef, weight_decay,
        safeguard_warmup, mask, bias_correction, growth_rate, axis_name, storage,
    )  # fmt: skip
