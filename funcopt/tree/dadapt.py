"""D-Adaptation: the rate is a lower bound of the distance to the solution, raised as it is proven.

    SGD       λ = d learning_rate / ‖g_0‖        n ← n + λ ⟨g, s⟩        s ← s + λ g
              d̂ = 2 n / ‖s‖                      z = x_0 − s

    AdaGrad   λ = d learning_rate                s ← s + λ g             a ← a + |g|²
              n ← n + λ² Σ |g|² / (√a + eps)     d̂ = (Σ |s|² / (√a + eps) − n) / ‖s‖₁
              z = x_0 − s / (√a + eps)

              both: d ← max(d, d̂), growing at most by growth_rate
                    x ← momentum x + (1 − momentum) z

    Adam      η = d learning_rate c              c = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
              n ← √β₂ n + (1 − √β₂) η ⟨g, s / (√v + eps)⟩
              m ← β₁ m + (1 − β₁) η g            v ← β₂ v + (1 − β₂) |g|²
              s ← √β₂ s + (1 − √β₂) η g          d̂ = n / ((1 − √β₂) ‖s‖₁)
              x ← x − m / (√v + eps) − η λ x

Defazio & Mishchenko, 2023 (https://arxiv.org/abs/2301.07733), algorithms 3 (AdaGrad), 4
(SGD) and 5 (Adam), in the form of the authors' code.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..math.moments import abs_sq, ema
from ..partition import Mask
from ..transformation import transformation
from ..value import DecayRate, Flag, NonNegative, Positive, Rate
from .prodigy import Betas, GrowthRate, bias_correction, grown
from .tree_math import Column, abs_sum, axpy, minus, norm, ratio, vdot
from .turn import Start, Turn


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


def _raised(d: Array, d_hat: Array, growth_rate: Any) -> Float[Array, ""]:
    return jnp.maximum(d, jnp.minimum(d_hat, grown(d, growth_rate)))


def _towards(x: Column, x0: Column, s: Column, momentum: Any) -> Column:
    """The step from x to momentum x + (1 − momentum) (x_0 − s).

    Of x_0 − x, both near each other, little is rounded away.
    """
    return [(1 - momentum) * each for each in minus(minus(x0, x), s)]


@dataclass(frozen=True)
class _DAdaptSgd:
    learning_rate: Any
    momentum: Any
    estim_lr0: Any
    weight_decay: Any
    growth_rate: Any
    mask: Any

    static: ClassVar = ("mask",)

    def init(self, params: Params) -> DAdaptSgdState:
        h, start = Start.of(self, params)
        return DAdaptSgdState(
            count=start.count,
            lr=jnp.zeros([], jnp.float32),
            d=start.scalar(h.estim_lr0),
            grad_norm=start.scalar(0.0),
            numerator=start.scalar(0.0),
            grad_sum=start.zeros(),
            init_params=start.copies(),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptSgdState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptSgdState]:
        del extra_args  # they are for other members of a chain
        slots = ("grad_sum", "init_params")
        h, now = Turn.of(
            self, updates, state, params, kind=DAdaptSgdState, slots=slots, value=value, gate=gate
        )
        x, x0, s, real = (
            now.params,
            now.column(state.init_params),
            now.column(state.grad_sum),
            now.real,
        )
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))

        g0 = jnp.where(state.grad_norm > 0, state.grad_norm, norm(now.grads, real))
        lr = ratio(state.d * h.learning_rate, g0)
        n = state.numerator + lr * vdot(g, s, real)
        s = axpy(lr, g, s)
        d = _raised(state.d, 2 * ratio(n, norm(s, real)), h.growth_rate)

        state = now.renew(lr=lr, d=d, grad_norm=g0, numerator=n, grad_sum=s)
        return now.leave(_towards(x, x0, now.column(state.grad_sum), h.momentum)), state


@transformation
def dadapt_sgd(
    learning_rate: Rate = 1.0,
    momentum: DecayRate = 0.0,
    estim_lr0: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    growth_rate: GrowthRate = math.inf,
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
    return _DAdaptSgd(learning_rate, momentum, estim_lr0, weight_decay, growth_rate, mask)


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

    static: ClassVar = ("mask",)

    def init(self, params: Params) -> DAdaptAdagradState:
        h, start = Start.of(self, params)
        d = start.scalar(h.estim_lr0)
        return DAdaptAdagradState(
            count=start.count,
            lr=(d * h.learning_rate).astype(jnp.float32),
            d=d,
            numerator=start.scalar(0.0),
            grad_sum=start.zeros(),
            sum_of_squares=start.full(h.initial_accumulator_value),
            init_params=start.copies(),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptAdagradState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptAdagradState]:
        del extra_args  # they are for other members of a chain
        slots = ("grad_sum", "sum_of_squares", "init_params")
        h, now = Turn.of(
            self, updates, state, params, kind=DAdaptAdagradState, slots=slots, value=value,
            gate=gate,
        )  # fmt: skip
        x, x0, real = now.params, now.column(state.init_params), now.real
        g = axpy(1, now.grads, now.decay(h.weight_decay, self.mask))

        lr = state.d * h.learning_rate
        a = axpy(1, [abs_sq(each) for each in g], now.column(state.sum_of_squares))
        root = [jnp.sqrt(each) + h.eps for each in a]
        s = axpy(lr, g, now.column(state.grad_sum))
        n = state.numerator + lr**2 * _over(g, root, real)
        d_hat = ratio(_over(s, root, real) - n, abs_sum(s, real))
        # A step of rate 0 proves nothing.
        d_hat = jnp.where(lr > 0, d_hat, state.d)
        d = _raised(state.d, d_hat, h.growth_rate)

        state = now.renew(lr=lr, d=d, numerator=n, grad_sum=s, sum_of_squares=a)
        s, a = now.column(state.grad_sum), now.column(state.sum_of_squares)
        s = [b / (jnp.sqrt(c) + h.eps) for b, c in zip(s, a, strict=True)]
        return now.leave(_towards(x, x0, s, h.momentum)), state


def _over(xs: Column, roots: Column, real: Any) -> Float[Array, ""]:
    """Σ |x|² / root."""
    return abs_sum([abs_sq(x) / root for x, root in zip(xs, roots, strict=True)], real)


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
    return _DAdaptAdagrad(
        learning_rate, momentum, initial_accumulator_value, eps, estim_lr0, weight_decay,
        growth_rate, mask,
    )  # fmt: skip


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

    static: ClassVar = ("mask", "bias_correction")

    def init(self, params: Params) -> DAdaptAdamState:
        h, start = Start.of(self, params)
        d = start.scalar(h.estim_lr0)
        return DAdaptAdamState(
            count=start.count,
            lr=(d * h.learning_rate).astype(jnp.float32),
            d=d,
            numerator=start.scalar(0.0),
            mu=start.zeros(),
            nu=start.zeros(real=True),
            grad_sum=start.zeros(),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: DAdaptAdamState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, DAdaptAdamState]:
        del extra_args  # they are for other members of a chain
        slots = ("mu", "nu", "grad_sum")
        h, now = Turn.of(
            self, updates, state, params, kind=DAdaptAdamState, slots=slots, value=value, gate=gate
        )
        g, v, s, real = now.grads, now.column(state.nu), now.column(state.grad_sum), now.real
        root_b2 = h.b2**0.5

        corrected = bias_correction(h.b1, h.b2, now.clock.t, real) if self.bias_correction else 1.0
        lr = state.d * h.learning_rate * corrected
        scaled = [a / (jnp.sqrt(b) + h.eps) for a, b in zip(s, v, strict=True)]
        n = ema(state.numerator, lr * vdot(g, scaled, real), root_b2)
        m = [ema(a, lr * b, h.b1) for a, b in zip(now.column(state.mu), g, strict=True)]
        v = [ema(a, abs_sq(b), h.b2) for a, b in zip(v, g, strict=True)]
        s = [ema(a, lr * b, root_b2) for a, b in zip(s, g, strict=True)]
        d_hat = ratio(n, (1 - root_b2) * abs_sum(s, real))
        d = _raised(state.d, d_hat, h.growth_rate)

        decay = now.decay(h.weight_decay, self.mask)
        state = now.renew(lr=lr, d=d, numerator=n, mu=m, nu=v, grad_sum=s)
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
    b1, b2 = betas
    return _DAdaptAdamw(
        learning_rate, b1, b2, eps, estim_lr0, weight_decay, growth_rate, mask, bias_correction
    )
