"""MoMo: momentum whose rate follows from a model of the loss.

    f̄ ← β f̄ + (1 − β) f(x)                       averages over past batches of the loss,
    γ ← β γ + (1 − β) ⟨g, x⟩                      of where its linear model was taken,
    m ← β m + (1 − β) g                           and of its slope
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / ‖m‖² )
    x ← (x − τ m) / (1 + αλ)

With ρ = 1 where the averages begin with the first batch (the default), and ρ = 1 − βᵗ where they
begin with zero. MoMo-Adam divides m by D = √(v/(1 − β₂ᵗ)) + eps, v the mean square of gradients,
has ‖m‖² = Σ |m|²/D, and begins with zero.

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

from ..math.moments import abs_sq, ema, seen
from ..rule import Signed
from ..rules.moment_slots import Moments
from ..storage import Storage, check_slots
from ..transformation import transformation
from ..value import DecayRate, Flag, NonNegative, Positive, Rate, Real
from .tree_math import Column, abs_sum, ratio, square_norm, vdot
from .turn import Start, Turn, loss_value


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
class _Model:
    """The model of the loss, and the step that it suggests."""

    alpha: Any
    decay: Any
    rho: Any
    loss: Array
    gamma: Array
    slope: Array  # ⟨m, x⟩
    square: Array  # ‖m‖²

    def feasible(self, bound: Array, initial: Any) -> Array:
        """The bound, lowered where it is above everything that the model reaches."""
        shrink = 1 + self.alpha * self.decay
        cap = shrink * (self.loss - self.gamma) + self.slope
        lowered = jnp.maximum(cap / (2 * shrink * self.rho), initial)
        return jnp.where(cap < shrink * self.rho * bound, lowered, bound)

    def step(self, bound: Array) -> Array:
        shrink = 1 + self.alpha * self.decay
        gap = shrink * (self.loss - self.rho * bound - self.gamma) + self.slope
        return jnp.minimum(self.alpha / self.rho, ratio(jnp.maximum(gap, 0), self.square))

    def bound(self, tau: Array, initial: Any) -> Array:
        reached = self.loss + self.slope - self.gamma - tau * self.square / 2
        return jnp.maximum(reached / self.rho, initial)


def _towards(x: Column, u: Column, tau: Array, alpha: Any, decay: Any) -> Column:
    """The step from x to (x − τ u) / (1 + αλ)."""
    shrink = 1 + alpha * decay
    return [-(tau * b + alpha * decay * a) / shrink for a, b in zip(x, u, strict=True)]


@dataclass(frozen=True)
class _Momo:
    learning_rate: Any
    beta: Any
    lower_bound: Any
    weight_decay: Any
    adapt_lower_bound: bool
    bias_correction: bool
    storage: Any

    static: ClassVar = ("adapt_lower_bound", "bias_correction", "storage")

    def init(self, params: Params) -> MomoState:
        h, start = Start.of(self, params)
        return MomoState(
            count=start.count,
            lr=jnp.array(h.learning_rate, jnp.float32),
            loss_average=start.scalar(0.0),
            gamma=start.scalar(0.0),
            lower_bound=start.scalar(h.lower_bound),
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
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MomoState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=MomoState, slots=("mu",), value=value, gate=gate
        )
        g, x, real = now.grads, now.params, now.real
        f = loss_value("momo", value, real)
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
        gamma = ema(state.gamma, vdot(g, x, real), beta)
        model = _Model(alpha, decay, rho, mean, gamma, vdot(m, x, real), square_norm(m, real))
        bound = state.lower_bound
        if self.adapt_lower_bound:
            bound = model.feasible(bound, h.lower_bound)
        tau = model.step(bound)
        if self.adapt_lower_bound:
            bound = model.bound(tau, h.lower_bound)

        state = now.renew(state, lr=tau, loss_average=mean, gamma=gamma, lower_bound=bound)
        return now.leave(_towards(x, m, tau, alpha, decay)), state


@transformation
def momo(
    learning_rate: Rate = 1.0,
    beta: DecayRate = 0.9,
    lower_bound: Real = 0.0,
    weight_decay: NonNegative = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    bias_correction: Flag = False,
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
        learning_rate, beta, lower_bound, weight_decay, adapt_lower_bound, bias_correction, storage
    )


@dataclass(frozen=True)
class _MomoAdam:
    learning_rate: Any
    b1: Any
    b2: Any
    eps: Any
    lower_bound: Any
    weight_decay: Any
    adapt_lower_bound: bool
    storage: Any

    static: ClassVar = ("adapt_lower_bound", "storage")

    def init(self, params: Params) -> MomoAdamState:
        h, start = Start.of(self, params)
        return MomoAdamState(
            count=start.count,
            lr=jnp.array(h.learning_rate, jnp.float32),
            loss_average=start.scalar(0.0),
            gamma=start.scalar(0.0),
            lower_bound=start.scalar(h.lower_bound),
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
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MomoAdamState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=MomoAdamState, slots=("mu", "nu"), value=value,
            gate=gate,
        )  # fmt: skip
        g, x, real, t = now.grads, now.params, now.real, now.clock.t
        f = loss_value("momo_adam", value, real)
        alpha, decay, rho = h.learning_rate, h.weight_decay, seen(h.b1, t, real)
        filled = seen(h.b2, t, real)

        def root(v: Column) -> Column:
            return [jnp.sqrt(each / filled) + h.eps for each in v]

        m = [ema(a, b, h.b1) for a, b in zip(now.column(state.mu), g, strict=True)]
        v = [ema(a, abs_sq(b), h.b2) for a, b in zip(now.column(state.nu), g, strict=True)]
        state = now.renew(mu=m, nu=v)
        m, D = now.column(state.mu), root(now.column(state.nu))
        mean = ema(state.loss_average, f, h.b1)
        gamma = ema(state.gamma, vdot(g, x, real), h.b1)
        square = abs_sum([abs_sq(a) / b for a, b in zip(m, D, strict=True)], real)
        model = _Model(alpha, decay, rho, mean, gamma, vdot(m, x, real), square)
        bound = state.lower_bound
        if self.adapt_lower_bound:
            bound = model.feasible(bound, h.lower_bound)
        tau = model.step(bound)
        if self.adapt_lower_bound:
            bound = model.bound(tau, h.lower_bound)

        state = now.renew(state, lr=tau, loss_average=mean, gamma=gamma, lower_bound=bound)
        u = [a / b for a, b in zip(m, D, strict=True)]
        return now.leave(_towards(x, u, tau, alpha, decay)), state


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
        learning_rate, b1, b2, eps, lower_bound, weight_decay, adapt_lower_bound, storage
    )
