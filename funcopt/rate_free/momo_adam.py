"""MoMo-Adam: Adam whose rate follows from a model of the loss.

    f̄ ← β₁ f̄ + (1 − β₁) f(x)                     averages over past batches of the loss,
    γ ← β₁ γ + (1 − β₁) ⟨g, x⟩                    of where its linear model was taken,
    m ← β₁ m + (1 − β₁) g                         and of its slope
    v ← β₂ v + (1 − β₂) |g|²
    D = √(v / (1 − β₂ᵗ)) + eps                    ρ = 1 − β₁ᵗ
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / Σ |m|²/D )
    x ← (x − τ m/D) / (1 + αλ)

A lower bound f* that is not known is estimated as in MoMo, with Σ |m|²/D in place of ‖m‖².

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Positive, Rate, Real
from ..core.rule import Divisor
from ..core.transformation import transformation
from ..core.turn import Start, Turn, loss_value
from ..math.columns import Column, abs_sum, vdot
from ..math.moments import abs_sq, ema, seen
from ..math.varying import AxisNames
from ..optimizers.moment_slots import Moments, mean_square
from ..storage import Storage, check_slots
from .loss_model import LossModel, proximal_step


class MomoAdamState(NamedTuple):
    """As `MomoState`; `nu` is the mean square of gradients."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    loss_average: Float[Array, ""]
    gamma: Float[Array, ""]
    lower_bound: Float[Array, ""]
    mu: Params
    nu: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "lower_bound": self.lower_bound}


@dataclass(frozen=True)
class _MomoAdam:
    learning_rate: Any
    b1: Any
    b2: Any
    eps: Any
    lower_bound: Any
    weight_decay: Any
    adapt_lower_bound: bool
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("adapt_lower_bound", "axis_name", "storage")
    state: ClassVar = MomoAdamState

    def divides_by(self, state: MomoAdamState) -> Divisor:
        del state  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps, corrected=True)

    def init(self, params: Params) -> MomoAdamState:
        h, start = Start.of(self, params)
        return MomoAdamState(
            count=start.count,
            lr=start.learnt(h.learning_rate),
            loss_average=start.learnt(0.0),
            gamma=start.learnt(0.0),
            lower_bound=start.learnt(h.lower_bound),
            **start.slots(Moments, self.storage, mu=start.zeros(), nu=start.zeros(real=True)),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: MomoAdamState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MomoAdamState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=MomoAdamState, slots=Moments, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        g, x, real, t = now.grads, now.params, now.real, now.clock.t
        axis = self.axis_name
        f = loss_value("momo_adam", value, real, axis)
        alpha, decay, rho = h.learning_rate, h.weight_decay, seen(h.b1, t, real)
        filled = seen(h.b2, t, real)

        def root(v: Column) -> Column:
            return [jnp.sqrt(each / filled) + h.eps for each in v]

        m = [ema(a, b, h.b1) for a, b in zip(now.column(state.mu), g, strict=True)]
        v = [ema(a, abs_sq(b), h.b2) for a, b in zip(now.column(state.nu), g, strict=True)]
        state = now.renew(mu=m, nu=v)
        m, D = now.column(state.mu), root(now.column(state.nu))
        mean = ema(state.loss_average, f, h.b1)
        gamma = ema(state.gamma, vdot(g, x, real, axis), h.b1)
        square = abs_sum([abs_sq(a) / b for a, b in zip(m, D, strict=True)], real, axis)
        model = LossModel(alpha, decay, rho, mean, gamma, vdot(m, x, real, axis), square)
        bound = state.lower_bound
        if self.adapt_lower_bound:
            bound = model.feasible(bound, h.lower_bound)
        tau = model.step(bound)
        if self.adapt_lower_bound:
            bound = model.bound(tau, h.lower_bound)

        state = now.renew(state, lr=tau, loss_average=mean, gamma=gamma, lower_bound=bound)
        u = [a / b for a, b in zip(m, D, strict=True)]
        return now.leave(proximal_step(x, u, tau, alpha, decay)), state


@transformation
def momo_adam(
    learning_rate: Rate = 1e-2,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: Positive = 1e-8,
    lower_bound: Real = 0.0,
    weight_decay: NonNegative = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adam at a Polyak-like rate. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a larger one than Adam's.
        b1: decay rate of the averages of gradients and of the loss, in [0, 1).
        b2: decay rate of the mean square, in [0, 1).
        eps: above 0, added to the root.
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖² in the norm of the step, taken as a proximal step.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, which is that of Adam's uncorrected mean, and
    `lower_bound`. With weight decay the whole step is divided by 1 + αλ, as in the paper and the
    authors' code; optax (0.2.8) divides only the decay.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo_adam(1.0), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    check_slots(storage, [Moments])
    return _MomoAdam(
        learning_rate,
        b1,
        b2,
        eps,
        lower_bound,
        weight_decay,
        adapt_lower_bound,
        axis_name,
        storage,
    )
