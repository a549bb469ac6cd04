"""Schedules driven by performance: factors that change when a metric says so.

Each starts at 1 and is meant to be multiplied with a schedule of progress:
`warmup_cosine_decay_schedule(...) * on_plateau()`. The metric is the `value=` of `update`, usually
the loss; it counts before the update is made. A value that is not finite is no news, so that a
metric which is evaluated rarely is given as NaN in between.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..value import Choice, NonNegativeConstant, Number, Offset, Steps, Within
from .schedule import Listening, schedule

Mode = Annotated[str, Choice(("min", "max"))]
Factor = Annotated[Number, Within(0, 1, "()", schedule=False)]
Growth = Annotated[Number, Within(1, math.inf, "[)", schedule=False)]


def _zero(dtype: Any = jnp.float32) -> Array:
    return jnp.zeros([], dtype)


class PlateauState(NamedTuple):
    scale: Float[Array, ""]
    best: Float[Array, ""]
    bad: Int[Array, ""]
    resting: Int[Array, ""]
    sum: Float[Array, ""]
    heard: Int[Array, ""]


@dataclass(frozen=True)
class _Plateau(Listening):
    factor: Any
    patience: int
    mode: str
    rtol: Any
    atol: Any
    cooldown: int
    min_scale: Any
    window: int

    def init(self) -> PlateauState:
        none = _zero(jnp.int32)
        return PlateauState(_zero() + 1, _zero() + jnp.inf, none, none + 0, _zero(), none + 0)

    def observe(self, state: PlateauState, value: Float[Array, ""], step: Array) -> PlateauState:
        del step  # a plateau is flat whenever it comes
        total = state.sum + (value if self.mode == "min" else -value)
        heard = state.heard + 1
        full = heard >= self.window
        judged = self._judged(state, total / self.window)
        waiting = PlateauState(
            state.scale, state.best, state.bad, state.resting, sum=total, heard=heard
        )
        return jax.tree.map(lambda new, old: jnp.where(full, new, old), judged, waiting)

    def _judged(self, state: PlateauState, value: Float[Array, ""]) -> PlateauState:
        margin = self.rtol * jnp.abs(state.best) + self.atol
        better = jnp.isinf(state.best) | (value < state.best - margin)
        resting = jnp.maximum(state.resting - 1, 0)
        bad = jnp.where(better | (state.resting > 0), 0, state.bad + 1)
        flat = bad > self.patience
        lower = jnp.maximum(state.scale * self.factor, jnp.minimum(state.scale, self.min_scale))
        return PlateauState(
            scale=jnp.where(flat, lower, state.scale),
            best=jnp.where(better, value, state.best),
            bad=jnp.where(flat, 0, bad),
            resting=jnp.where(flat, self.cooldown, resting),
            sum=_zero(),
            heard=_zero(jnp.int32),
        )

    def at(self, step: Array, state: PlateauState) -> Array:
        del step
        return state.scale


@schedule
def on_plateau(
    factor: Factor = 0.1,
    patience: Offset = 10,
    *,
    mode: Mode = "min",
    rtol: NonNegativeConstant = 1e-4,
    atol: NonNegativeConstant = 0.0,
    cooldown: Offset = 0,
    min_scale: NonNegativeConstant = 0.0,
    window: Steps = 1,
):
    """Multiply by `factor` when the metric has stopped improving.

        better:  value < best − (rtol |best| + atol)        (above, in mode "max")
        after more than `patience` values that are not better: scale ← max(factor scale, min_scale)

    Args:
        factor: in (0, 1).
        patience: how many values in a row may fail to be better; the next one acts (as PyTorch
            counts; optax acts on the last of them).
        mode: "min" for a loss, "max" for an accuracy.
        rtol: the improvement that counts, relative to the magnitude of the best value; right for
            negative metrics too.
        atol: the improvement that counts, absolute.
        cooldown: how many values are not judged after a reduction.
        min_scale: where it stops.
        window: how many values are averaged before they are judged.

    Source: PyTorch's ReduceLROnPlateau.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.sgd(0.1 * funcopt.on_plateau(0.5, patience=1))
    >>> params = jnp.zeros(1)
    >>> state = tx.init(params)
    >>> for loss in (1.0, 1.0, 1.0, 1.0):
    ...     _, state = tx.update(params, state, params, value=loss)
    >>> funcopt.current_lr(state)
    Array(0.05, dtype=float32)
    """
    return _Plateau(factor, patience, mode, rtol, atol, cooldown, min_scale, window)


class LastState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    bad: Int[Array, ""]


def _last() -> LastState:
    return LastState(_zero() + 1, _zero() + jnp.inf, _zero(jnp.int32))


@dataclass(frozen=True)
class _NewBob(Listening):
    factor: Any
    threshold: Any
    patience: int
    min_scale: Any

    def init(self) -> LastState:
        return _last()

    def observe(self, state: LastState, value: Float[Array, ""], step: Array) -> LastState:
        del step
        known = jnp.isfinite(state.last)
        gain = state.last - value
        small = known & (gain < self.threshold * jnp.abs(state.last))
        bad = jnp.where(small, state.bad + 1, state.bad)
        act = bad > self.patience
        lower = jnp.maximum(state.scale * self.factor, jnp.minimum(state.scale, self.min_scale))
        return LastState(
            jnp.where(act, lower, state.scale), value, jnp.where(act, 0, bad).astype(jnp.int32)
        )

    def at(self, step: Array, state: LastState) -> Array:
        del step
        return state.scale


@schedule
def on_newbob(
    factor: Factor = 0.5,
    threshold: NonNegativeConstant = 0.0025,
    patience: Offset = 0,
    *,
    min_scale: NonNegativeConstant = 0.0,
):
    """Multiply by `factor` when a metric improves by less than `threshold` on the one before.

        small:  (last − value) < threshold |last|

    The rule of the speech toolkits since QuickNet: it compares neighbours, where `on_plateau`
    compares with the best. Give it one value an epoch and NaN in between.

    Args:
        factor: in (0, 1).
        threshold: the relative improvement that counts, at least 0.
        patience: how many small improvements are forgiven (in all since the last reduction).
        min_scale: where it stops.

    Source: SpeechBrain's NewBobScheduler.

    >>> import funcopt
    >>> funcopt.on_newbob(0.5)
    on_newbob()
    """
    return _NewBob(factor, threshold, patience, min_scale)


@dataclass(frozen=True)
class _BoldDriver(Listening):
    growth: Any
    factor: Any
    min_scale: Any
    max_scale: Any

    def init(self) -> LastState:
        return _last()

    def observe(self, state: LastState, value: Float[Array, ""], step: Array) -> LastState:
        del step
        known = jnp.isfinite(state.last)
        moved = state.scale * jnp.where(value > state.last, self.factor, self.growth)
        scale = jnp.clip(moved, self.min_scale, self.max_scale)
        return LastState(jnp.where(known, scale, state.scale), value, state.bad)

    def at(self, step: Array, state: LastState) -> Array:
        del step
        return state.scale


@schedule
def on_bold_driver(
    growth: Growth = 1.05,
    factor: Factor = 0.5,
    *,
    min_scale: NonNegativeConstant = 0.0,
    max_scale: NonNegativeConstant = 1e6,
):
    """Grow a little after every step that did not raise the loss, shrink after one that did.

        scale ← clip(scale · (factor if value > last else growth), min_scale, max_scale)

    Made for full batches: on the noisy losses of mini-batches it shrinks for no reason.

    Args:
        growth: at least 1.
        factor: in (0, 1).
        min_scale, max_scale: the bounds of the scale.

    Source: Vogl et al., 1988 (https://doi.org/10.1007/BF00332914), without taking the step back.

    >>> import funcopt
    >>> funcopt.on_bold_driver(growth=1.1)
    on_bold_driver(growth=1.1)
    """
    return _BoldDriver(growth, factor, min_scale, max_scale)


class GreedyState(NamedTuple):
    scale: Float[Array, ""]
    best: Float[Array, ""]
    good: Int[Array, ""]
    bad: Int[Array, ""]


@dataclass(frozen=True)
class _Greedy(Listening):
    factor: Any
    patience: int
    rtol: Any
    min_scale: Any
    max_scale: Any

    def init(self) -> GreedyState:
        none = _zero(jnp.int32)
        return GreedyState(_zero() + 1, _zero() + jnp.inf, none, none + 0)

    def observe(self, state: GreedyState, value: Float[Array, ""], step: Array) -> GreedyState:
        del step
        better = jnp.isinf(state.best) | (value < state.best - self.rtol * jnp.abs(state.best))
        good = jnp.where(better, state.good + 1, 0)
        bad = jnp.where(better, 0, state.bad + 1)
        raised, lowered = good > self.patience, bad > self.patience
        moved = jnp.where(raised, 1 / self.factor, jnp.where(lowered, self.factor, 1.0))
        return GreedyState(
            jnp.clip(state.scale * moved, self.min_scale, self.max_scale),
            jnp.where(better, value, state.best),
            jnp.where(raised, 0, good),
            jnp.where(lowered, 0, bad),
        )

    def at(self, step: Array, state: GreedyState) -> Array:
        del step
        return state.scale


@schedule
def on_greedy(
    factor: Factor = 0.9,
    patience: Offset = 10,
    *,
    rtol: NonNegativeConstant = 1e-4,
    min_scale: NonNegativeConstant = 0.01,
    max_scale: NonNegativeConstant = 10.0,
):
    """Divide by `factor` while the metric keeps improving, multiply by it while it does not.

        after more than `patience` improvements in a row: scale ← min(scale / factor, max_scale)
        after more than `patience` failures in a row:     scale ← max(scale factor, min_scale)

    Args:
        factor: in (0, 1).
        patience: how many in a row do nothing yet.
        rtol: the improvement on the best value that counts, relative to its magnitude.
        min_scale, max_scale: the bounds of the scale.

    Source: GreedyLR, https://arxiv.org/abs/2512.14527.

    >>> import funcopt
    >>> funcopt.on_greedy(0.8, patience=5)
    on_greedy(factor=0.8, patience=5)
    """
    return _Greedy(factor, patience, rtol, min_scale, max_scale)


class BounceState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    change: Float[Array, ""]
    turned: Int[Array, ""]


@dataclass(frozen=True)
class _Abel(Listening):
    factor: Any
    min_scale: Any

    def init(self) -> BounceState:
        return BounceState(_zero() + 1, _zero() + jnp.inf, _zero(), _zero(jnp.int32))

    def observe(self, state: BounceState, value: Float[Array, ""], step: Array) -> BounceState:
        del step
        change = jnp.where(jnp.isfinite(state.last), value - state.last, 0)
        turn = change * state.change < 0
        act = turn & (state.turned == 1)
        lower = jnp.maximum(state.scale * self.factor, jnp.minimum(state.scale, self.min_scale))
        return BounceState(
            jnp.where(act, lower, state.scale),
            value,
            jnp.where(change == 0, state.change, change),
            jnp.where(turn, 1 - state.turned, state.turned),
        )

    def at(self, step: Array, state: BounceState) -> Array:
        del step
        return state.scale


@schedule
def on_abel(factor: Factor = 0.1, *, min_scale: NonNegativeConstant = 0.0):
    """Multiply by `factor` when the weight norm, after a first turn, turns again: it bounced.

    ABEL: the value to give is the squared norm of the weights, once an epoch (NaN in between):
    `value=funcopt.global_norm(params) ** 2`. With weight decay this norm falls, then rises, and
    the rate has done its work when it has done both.

    Args:
        factor: in (0, 1).
        min_scale: where it stops.

    Source: Lewkowycz, 2021 (https://arxiv.org/abs/2103.12682), without its last decay at 85 % of
    the run, which is `join_schedules`' to make.

    >>> import funcopt
    >>> funcopt.on_abel(0.2)
    on_abel(factor=0.2)
    """
    return _Abel(factor, min_scale)


class CooldownState(NamedTuple):
    plateau: PlateauState
    begun: Int[Array, ""]


@dataclass(frozen=True)
class _Cooldown(Listening):
    plateau: _Plateau
    steps: int
    end_scale: Any
    shape: str

    def init(self) -> CooldownState:
        return CooldownState(self.plateau.init(), _zero(jnp.int32) - 1)

    def observe(self, state: CooldownState, value: Float[Array, ""], step: Array) -> CooldownState:
        plateau = self.plateau.observe(state.plateau, value, step)
        now = (state.begun < 0) & (plateau.scale < 1)
        return CooldownState(plateau, jnp.where(now, jnp.asarray(step, jnp.int32), state.begun))

    def at(self, step: Array, state: CooldownState) -> Array:
        passed = jnp.clip(step - state.begun, 0, self.steps).astype(jnp.float32)
        x = passed / jnp.asarray(self.steps, jnp.float32)
        w = 1 - (jnp.sqrt(x) if self.shape == "1-sqrt" else x)
        return jnp.where(state.begun < 0, 1.0, w + (1 - w) * self.end_scale)


@schedule
def cooldown_on_plateau(
    cooldown_steps: Steps,
    patience: Offset = 10,
    *,
    shape: Annotated[str, Choice(("1-sqrt", "linear"))] = "1-sqrt",
    end_scale: NonNegativeConstant = 0.0,
    mode: Mode = "min",
    rtol: NonNegativeConstant = 1e-4,
    atol: NonNegativeConstant = 0.0,
    window: Steps = 1,
):
    """Stay until the metric stops improving, then cool down once: the end of a WSD run, by need.

        1 until the plateau is found, then 1 − √x (or 1 − x) down to `end_scale`
        x = progress through the cooldown, in [0, 1]

    Args:
        cooldown_steps: the length of the cooldown, at least 1.
        patience, mode, rtol, atol, window: when the plateau is found, as in `on_plateau`.
        shape: "1-sqrt" (the best in https://arxiv.org/abs/2405.18392) or "linear".
        end_scale: where it ends.

    >>> import funcopt
    >>> rate = funcopt.linear_warmup(1e-3, 100) * funcopt.cooldown_on_plateau(1_000, patience=20)
    >>> rate.listens
    True
    """
    plateau = _Plateau(0.5, patience, mode, rtol, atol, 0, 0.0, window)
    return _Cooldown(plateau, cooldown_steps, end_scale, shape)
