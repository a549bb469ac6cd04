"""Schedule-free learning: averaging in place of a decaying rate.

    y_t = (1 − β) z_t + β x_t              where gradients are taken: the parameters in training
    z_{t+1} = z_t + base update at y_t     the base optimizer's own sequence, without momentum
    w_t = (max η_i)^p,  c_t = w_t / Σ w_i
    x_{t+1} = (1 − c_t) x_t + c_t z_{t+1}  the average: what `funcopt.eval_params` returns

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), eqs. 4 to 6 and algorithm 1.

Of x, y and z only y and z are kept, and x is recovered from them; beside half-precision
parameters, in which steps of an average would round away, x is kept in float32 too.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Params, ScalarOrSchedule, Updates

from ..lift import where
from ..optimizer import optimizer
from ..partition import Mask
from ..rules.decay import Decay
from ..rules.rmsprop import Rms
from ..schedules.arithmetic import product
from ..schedules.schedule import schedule
from ..transformation import chain, metrics, transformation
from ..tree.average import mixed
from ..tree.tree_math import axpy, minus, ratio
from ..tree.turn import Start, Turn
from ..value import (
    MOST_STEPS,
    Constant,
    DecayRate,
    DType,
    NonNegative,
    OpenDecayRate,
    Positive,
    Rate,
    Steps,
    Within,
)

OptionalRate = Annotated[Any, Within(0, math.inf, "[)", optional=True)]
OptionalSteps = Annotated[Any, Within(1, MOST_STEPS, schedule=False, integer=True, optional=True)]


def _transformation(where_: str, x: Any) -> Any:
    if not (hasattr(x, "init") and hasattr(x, "update")):
        hint = ": call it to make one" if callable(x) else ""
        raise TypeError(f"{where_} must be a gradient transformation, got {x!r}{hint}.")
    return x


Base = Annotated[optax.GradientTransformation, _transformation]


class ScheduleFreeState(NamedTuple):
    """`x` is None where it is recovered from the parameters, `z` and `b1`."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    b1: Float[Array, ""]
    max_lr: Float[Array, ""]
    weight_sum: Float[Array, ""]
    z: Params
    x: Params | None
    base_optimizer_state: OptState
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        reported = metrics(self.base_optimizer_state)
        return {} if any(name.split("/")[-1] == "lr" for name in reported) else {"lr": self.lr}

    def eval_params(self, params: Params) -> Params:
        if self.x is not None:
            return mixed(params, self.x, lambda y, x, real: x)
        return mixed(params, self.z, lambda y, z, real: _recovered(y, z, self.b1.astype(real)))


def _recovered(y: Array, z: Array, b1: Array) -> Array:
    return (y - (1 - b1) * z) / b1


@dataclass(frozen=True)
class _ScheduleFree:
    base: optax.GradientTransformationExtraArgs
    learning_rate: ScalarOrSchedule | None
    b1: Any
    weight_lr_power: Any
    state_dtype: Any

    static: ClassVar = ("base", "state_dtype")

    def init(self, params: Params) -> ScheduleFreeState:
        h, start = Start.of(self, params)
        z = [x.astype(self.state_dtype or x.dtype) for x in jax.tree.leaves(start.copies())]
        half = any(jnp.finfo(jnp.result_type(x)).bits < 32 for x in jax.tree.leaves(params))
        base_state = self.base.init(start.tree(start.wide))
        return ScheduleFreeState(
            count=start.count,
            lr=self._rate(h, base_state, start.real).astype(jnp.float32),
            b1=start.scalar(h.b1),
            max_lr=start.scalar(0.0),
            weight_sum=start.scalar(0.0),
            z=start.tree(z),
            x=start.copies() if half else None,
            base_optimizer_state=base_state,
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: ScheduleFreeState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ScheduleFreeState]:
        h, now = Turn.of(
            self, updates, state, params, kind=ScheduleFreeState, slots=("z",), value=value,
            gate=gate,
        )  # fmt: skip
        y, z, old_b1 = now.params, now.column(state.z), state.b1.astype(now.real)
        if state.x is None:
            x = [_recovered(a, b, old_b1) for a, b in zip(y, z, strict=True)]
        else:
            x = now.column(state.x)

        given = {"value": value, "gate": gate}
        extra_args |= {name: each for name, each in given.items() if each is not None}
        at_y = jax.tree.unflatten(now.structure, y)
        base_updates, base_state = self.base.update(
            updates, state.base_optimizer_state, at_y, **extra_args
        )
        base_step = now.column(base_updates)

        lr = self._rate(h, base_state, now.real)
        max_lr = jnp.maximum(state.max_lr, lr)
        weight = max_lr**h.weight_lr_power
        weight_sum = state.weight_sum + weight
        new_z = axpy(1, base_step, z)
        x_step = [ratio(weight, weight_sum) * each for each in minus(new_z, x)]
        # As a sum of small steps, which is 0 at a rate of 0; beside a kept x, y follows it.
        steps = [
            h.b1 * dx + (1 - h.b1) * dz + (h.b1 - old_b1) * (a - b)
            for dx, dz, a, b in zip(x_step, base_step, x, z, strict=True)
        ]
        x, z = axpy(1, x_step, x), new_z
        if state.x is not None:
            steps = [h.b1 * a + (1 - h.b1) * b - c for a, b, c in zip(x, z, y, strict=True)]

        new = {} if state.x is None else {"x": x}
        b1 = jnp.asarray(h.b1, now.real)
        state = now.renew(lr=lr, b1=b1, max_lr=max_lr, weight_sum=weight_sum, z=z, **new)
        state = ScheduleFreeState(**{**state._asdict(), "base_optimizer_state": base_state})
        return now.leave(steps), state

    def _rate(self, h: Any, base_state: OptState, real: Any) -> Float[Array, ""]:
        if self.learning_rate is not None:
            return jnp.asarray(h.learning_rate, real)
        reported = metrics(base_state)
        rates = [x for name, x in reported.items() if name.split("/")[-1] == "lr"]
        if len(rates) != 1:
            raise ValueError(
                f"schedule_free: the base optimizer reports {len(rates) or 'no'} learning rate"
                f"{'s' * (len(rates) != 1)}, so give schedule_free its learning_rate."
            )
        return jnp.array(rates[0], real)  # a copy: both states may be donated


@transformation
def schedule_free(
    base_optimizer: Base,
    learning_rate: OptionalRate = None,
    b1: OpenDecayRate = 0.9,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
):
    """Make an optimizer schedule-free: average its steps instead of letting its rate decay.

    Train and take gradients at the parameters as usual; evaluate and serve at
    `funcopt.eval_params(tx, state, params)`. Warm up, but do not decay. Statistics of batch
    normalization belong to the evaluated parameters: collect them again before evaluating.

    Args:
        base_optimizer: a funcopt or optax optimizer without momentum, which this takes the place
            of: `sgd(rate)`, `rmsprop(rate, 0.999, bias_correction=True, eps_in_sqrt=False)`.
        learning_rate: by which steps are weighted in the average. None takes the rate in force
            from the base optimizer's state, so that the two never differ; an optax optimizer does
            not tell its rate, so give it here again.
        b1: in (0, 1), or a schedule: how much of the average is in the parameters; it takes the
            place of momentum. 0.9 to 0.98.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters.

    optax (0.2.8) reads the rate of the weights one step later than its base optimizer does, and
    keeps sums in the parameters' dtype; both are as in the authors' code here.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.schedule_free(funcopt.sgd(0.5)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(funcopt.eval_params(tx, state, params)["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    base = chain(base_optimizer)  # which knows what to do with a gate, and with extra arguments
    return _ScheduleFree(base, learning_rate, b1, weight_lr_power, state_dtype)


@schedule
def warmed(warmup_steps: Steps):
    """The authors' warm-up: (step + 1) / warmup_steps, then 1. Its first rate is not 0."""

    def factor(step: Array) -> Array:
        done = jnp.asarray(step + 1, jnp.float32)
        return jnp.minimum(done / jnp.asarray(warmup_steps, jnp.float32), 1.0)

    return factor


@schedule
def rectified(b2: Constant):
    """RAdam's factor of the rate; 0 until the variance of the mean square is tractable.

    ρ_t = ρ_∞ − 2 t β₂ᵗ / (1 − β₂ᵗ) is a small difference of large numbers while t (1 − β₂) is
    small, where float32 is left with few digits: there its power series is summed instead.
    """

    def factor(step: Array) -> Array:
        t = jnp.asarray(step + 1, jnp.float32)
        a = -jnp.log(b2) if isinstance(b2, jax.Array) else -math.log(b2)
        x = a * t
        rho_inf = 2 / (1 - b2) - 1
        series = t
        for coefficient, n in ((1 / 12, 2), (-1 / 720, 4), (1 / 30240, 6)):
            series = series - 2 / a * coefficient * (x**n - a**n)
        rho = jnp.where(x < 0.5, series, rho_inf - 2 * t / jnp.expm1(x))
        tractable = rho > 4
        safe = jnp.where(tractable, rho, 5.0)
        squared = (safe - 4) * (safe - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * safe)
        return jnp.where(tractable, jnp.sqrt(squared), 0.0)

    return factor


def _with_warmup(learning_rate: Any, warmup_steps: Any) -> Any:
    return learning_rate if warmup_steps is None else product(learning_rate, warmed(warmup_steps))


@transformation
def schedule_free_sgd(
    learning_rate: Rate = 1.0,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    weight_decay: OptionalRate = None,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
):
    """Schedule-free SGD.

    Args:
        learning_rate: at least 0, or a schedule without decay; ten times that of SGD with
            momentum or more is usual.
        warmup_steps: the rate rises linearly to its value within so many steps; None does not
            warm up. The first rate is a fraction 1 / warmup_steps, as the authors have it, where
            optax begins with 0.
        b1: in (0, 1): how much of the average is in the parameters.
        weight_decay: times the parameters in training (y), added to the gradient; None is none.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters.
        mask: which parameters decay, as in `add_decayed_weights`.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> funcopt.schedule_free_sgd(5.0, warmup_steps=100)
    schedule_free_sgd(learning_rate=5.0, warmup_steps=100)

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    decay = () if weight_decay is None else (where(mask, Decay(weight_decay)),)
    base = optimizer(*decay, learning_rate=_with_warmup(learning_rate, warmup_steps))
    return _ScheduleFree(chain(base), None, b1, weight_lr_power, state_dtype)


@transformation
def schedule_free_adamw(
    learning_rate: Rate = 0.0025,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
):
    """Schedule-free AdamW: as much memory as AdamW, no decay of the rate, hence no end to plan.

    Args:
        learning_rate: at least 0, or a schedule without decay; one to ten times AdamW's.
        warmup_steps: the rate rises linearly to its value within so many steps, which the
            authors consider necessary; None does not warm up. The first rate is a fraction
            1 / warmup_steps, as the authors have it, where optax begins with 0.
        b1: in (0, 1): how much of the average is in the parameters; takes the place of Adam's b1.
        b2: decay rate of the mean square, in [0, 1).
        eps: at least 0, added to the root.
        weight_decay: times the parameters in training (y) and the rate.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters.
        mask: which parameters decay, as in `add_decayed_weights`.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> funcopt.schedule_free_adamw(0.01, warmup_steps=100, weight_decay=0.1)
    schedule_free_adamw(learning_rate=0.01, warmup_steps=100, weight_decay=0.1)

    Source: https://arxiv.org/abs/2405.15682, algorithm 1, and
    https://github.com/facebookresearch/schedule_free.
    """
    rate = _with_warmup(learning_rate, warmup_steps)
    base = optimizer(
        Rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        where(mask, Decay(weight_decay)),
        learning_rate=rate,
    )
    return _ScheduleFree(chain(base), None, b1, weight_lr_power, state_dtype)


@transformation
def schedule_free_radam(
    learning_rate: Rate = 0.0025,
    warmup_steps: OptionalSteps = None,
    b1: OpenDecayRate = 0.9,
    b2: Annotated[Any, Within(0.6, 1, "()", schedule=False)] = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    mask: Mask = None,
):
    """Schedule-free RAdam: schedule-free AdamW whose warm-up follows from `b2`.

    The rate is multiplied by RAdam's rectification, which is 0 in the first steps (the authors'
    `silent_sgd_phase`) and rises to 1 within about 2 / (1 − b2) steps.

    Args:
        learning_rate: at least 0, or a schedule without decay.
        warmup_steps: a linear warm-up on top; None, as the authors have it, is none.
        b1: in (0, 1): how much of the average is in the parameters.
        b2: decay rate of the mean square, in (0.6, 1): below, there is nothing to rectify.
        eps: above 0, added to the root.
        weight_decay: times the parameters in training (y) and the rate.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters.
        mask: which parameters decay, as in `add_decayed_weights`.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    >>> import funcopt
    >>> tx = funcopt.schedule_free_radam(0.01)
    >>> float(funcopt.current_lr(tx.init({"w": 0.0})))
    0.0

    Source: https://arxiv.org/abs/2405.15682, https://arxiv.org/abs/1908.03265 and
    https://github.com/facebookresearch/schedule_free.
    """
    rate = product(_with_warmup(learning_rate, warmup_steps), rectified(b2))
    base = optimizer(
        Rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        where(mask, Decay(weight_decay)),
        learning_rate=rate,
    )
    return _ScheduleFree(chain(base), None, b1, weight_lr_power, state_dtype)
