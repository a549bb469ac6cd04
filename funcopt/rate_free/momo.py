"""MoMo: momentum whose rate follows from a model of the loss.

    f̄ ← β f̄ + (1 − β) f(x)                       averages over past batches of the loss,
    γ ← β γ + (1 − β) ⟨g, x⟩                      of where its linear model was taken,
    m ← β m + (1 − β) g                           and of its slope
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / ‖m‖² )
    x ← (x − τ m) / (1 + αλ)

With ρ = 1 where the averages begin with the first batch (the default), and ρ = 1 − βᵗ where they
begin with zero.

A lower bound f* that is not known is estimated: after each step
f* ← max( (f̄ + ⟨m, x⟩ − γ − ½ τ ‖m‖²) / ρ, lower_bound ), and it is halved towards what the model
allows before a step that it would forbid.

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, DecayRate, Flag, NonNegative, Rate, Real
from ..core.rule import Signed
from ..core.transformation import transformation
from ..core.turn import Start, Turn, loss_value
from ..math.columns import square_norm, vdot
from ..math.moments import ema, seen
from ..math.varying import AxisNames
from ..storage import Storage, check_slots
from .loss_model import LossModel, proximal_step


class MomoSlots(NamedTuple):
    mu: Signed


class MomoState(NamedTuple):
    """`lr` is the rate in force; before the first update, the largest that is allowed."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    loss_average: Float[Array, ""]
    gamma: Float[Array, ""]
    lower_bound: Float[Array, ""]
    mu: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, "lower_bound": self.lower_bound}


@dataclass(frozen=True)
class _Momo:
    learning_rate: Any
    beta: Any
    lower_bound: Any
    weight_decay: Any
    adapt_lower_bound: bool
    bias_correction: bool
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("adapt_lower_bound", "axis_name", "bias_correction", "storage")

    def init(self, params: Params) -> MomoState:
        h, start = Start.of(self, params)
        return MomoState(
            count=start.count,
            lr=start.learnt(h.learning_rate),
            loss_average=start.learnt(0.0),
            gamma=start.learnt(0.0),
            lower_bound=start.learnt(h.lower_bound),
            **start.slots(MomoSlots, self.storage, mu=start.zeros()),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: MomoState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MomoState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=MomoState,
            slots=MomoSlots,
            value=value,
            metric=metric,
            gate=gate,
        )
        state = now.state
        g, x, real, axis = now.grads, now.params, now.real, self.axis_name
        f = loss_value("momo", value, real, axis)
        alpha, decay = h.learning_rate, h.weight_decay
        if self.bias_correction:
            beta, rho = h.beta, seen(h.beta, now.clock.t, real)
        else:
            # The first batch is the first average.
            beta, rho = jnp.where(state.count == 0, 0, jnp.asarray(h.beta, real)), 1.0

        m = [ema(a, b, beta) for a, b in zip(now.column(state.mu), g, strict=True)]
        state = now.renew(mu=m)
        m = now.column(state.mu)
        mean = ema(state.loss_average, f, beta)
        gamma = ema(state.gamma, vdot(g, x, real, axis), beta)
        model = LossModel(
            alpha, decay, rho, mean, gamma, vdot(m, x, real, axis), square_norm(m, real, axis)
        )
        bound = state.lower_bound
        if self.adapt_lower_bound:
            bound = model.feasible(bound, h.lower_bound)
        tau = model.step(bound)
        if self.adapt_lower_bound:
            bound = model.bound(tau, h.lower_bound)

        state = now.renew(state, lr=tau, loss_average=mean, gamma=gamma, lower_bound=bound)
        return now.leave(proximal_step(x, m, tau, alpha, decay)), state


@transformation
def momo(
    learning_rate: Rate = 1.0,
    beta: DecayRate = 0.9,
    lower_bound: Real = 0.0,
    weight_decay: NonNegative = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    bias_correction: Flag = False,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """SGD with momentum at a Polyak-like rate. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a large one.
        beta: decay rate of the averages, in [0, 1).
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖², taken as a proximal step.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        bias_correction: begin averages with zero and correct for it, instead of beginning with
            the first batch.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how the mean is kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, and `lower_bound`. With weight decay the whole
    step is divided by 1 + αλ, as in the paper and the authors' code; optax (0.2.8) divides only
    the decay, and takes no step where ‖m‖² is below 2.2e-16.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo(), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    check_slots(storage, [MomoSlots])
    return _Momo(
        learning_rate,
        beta,
        lower_bound,
        weight_decay,
        adapt_lower_bound,
        bias_correction,
        axis_name,
        storage,
    )
