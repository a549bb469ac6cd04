"""Gradient accumulation: one step for the mean gradient of several micro-batches.

    W ← W + w,   mean ← mean + (g − mean) w / W     for a good micro-batch of weight w
    every micro-batches: one update of the inner transformation with the mean

The running mean is the accumulator itself, so that nothing is divided or reset at the end. The
inner transformation is gated: measured on the CPU, that is faster than a `lax.cond` around it,
which has to copy what it hands through.

From the norms of the micro-batches and of their mean follows the gradient noise scale, in
micro-batches: see `funcopt.math.noise_scale`. Where their variance goes with 1 / w, as that of
means over w tokens does, its equations hold for the weighted means as they stand.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Int
from optax import OptState, Params, Updates

from ..core.arguments import AxisName, Base, Flag, Hyperparameter, NumberOfSteps, number_at
from ..core.leaves import gradients_beside, in_full
from ..core.schedule import listens
from ..core.transformation import transformation
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.choice import where
from ..math.counts import counted
from ..math.global_norm import square_sum
from ..math.noise_scale import Noise, add_noise_terms, no_noise, noise_scale
from ..math.varying import AxisNames, mean_across
from .agreement import everywhere, square_sum_across
from .loss_scale import refuse_loss_scale


def _every(where: str, x: Hyperparameter) -> Hyperparameter:
    if listens(x):
        raise TypeError(
            f"{where} must not listen to a metric, got {x!r}. Give a schedule that is driven by "
            "the step alone."
        )
    return NumberOfSteps(1, schedule=True)(where, x)


Every = Annotated[Hyperparameter, _every]


class Heard(NamedTuple):
    """The mean of the finite numbers that came in this round, and their weight; 0 if none did."""

    mean: Float[Array, ""]
    weight: Float[Array, ""]

    def after(self, x: Array | None, weight: Array, first: Array) -> "Heard":
        """With one more number of some `weight`, or none; `first` of the round or not."""
        before = where(first, 0, self.weight)
        if x is None:
            return Heard(self.mean, before)
        news = jnp.isfinite(x) & (weight > 0)
        after = before + where(news, weight, 0)
        return Heard(running_mean(self.mean, x, news, before == 0, share_of(weight, after)), after)

    def told(self) -> Float[Array, ""]:
        return where(self.weight > 0, self.mean, jnp.nan)


class AccumulateState(NamedTuple):
    """`micro` micro-batches of this round came, of which `good` are in the mean, of that `weight`.

    `value` and `metric` are what came with them, `squares` is the mean of their squared norms;
    `rounds` counts the updates made so far, `dropped` bad micro-batches over the whole run.
    """

    inner: OptState
    mean: Params
    micro: Int[Array, ""]
    good: Int[Array, ""]
    weight: Float[Array, ""]
    value: Heard
    metric: Heard
    squares: Float[Array, ""]
    rounds: Int[Array, ""]
    dropped: Int[Array, ""]
    noise: Noise

    def waiting(self) -> Params:
        return self.mean

    def metrics(self) -> dict[str, Array]:
        return {
            "micro_step": self.micro,
            "dropped": self.dropped,
            "noise_scale": noise_scale(self.noise),
        }


@dataclass(frozen=True)
class Accumulate(Wrapper[AccumulateState]):
    every: Hyperparameter
    check_value: bool
    axis_name: AxisNames

    state = AccumulateState
    keeps = ("mean",)

    @property
    def of_one(self) -> bool:
        """Whether each micro-batch makes a step, so that no mean has to be kept."""
        return isinstance(self.every, int) and bool(self.every == 1)

    def first(self, start: Beginning) -> AccumulateState:
        refuse_loss_scale(self.name, start.inner)
        counts = iter([jnp.zeros([], jnp.int32) for _ in range(4)])
        numbers = iter([jnp.zeros([], start.real) for _ in range(6)])
        mean = () if self.of_one else start.as_tree([jnp.zeros_like(x) for x in start.arrays])
        return AccumulateState(
            inner=start.inner,
            mean=mean,
            micro=next(counts),
            good=next(counts),
            weight=next(numbers),
            value=Heard(next(numbers), next(numbers)),
            metric=Heard(next(numbers), next(numbers)),
            squares=next(numbers),
            rounds=next(counts),
            dropped=next(counts),
            noise=no_noise(start.real),
        )

    def step(
        self, updates: Updates, state: AccumulateState, inside: Inside
    ) -> tuple[Updates, AccumulateState]:
        # Another `every` than the state was made with changes nothing of its structure.
        keeps = not _is_nothing(state.mean) or not self.of_one
        if keeps and _is_nothing(state.mean) and jax.tree.leaves(updates):
            raise ValueError(
                "accumulate: the state was made with every=1, which keeps no mean of gradients. "
                f"Go on with every={self.every!r} from "
                "`tx.init(params)._replace(inner=state.inner)`."
            )
        columns = [in_full(state.mean)] if keeps else []
        leaves, structure = gradients_beside(updates, inside.params, columns, names=["mean"])
        grads = [leaf.grad for leaf in leaves]
        real, came = state.weight.dtype, inside.extra_args
        squares = square_sum([x for x in grads if jnp.size(x)])
        told = {
            name: mean_across(_scalar(name, came[name], real), self.axis_name)
            for name in ("value", "metric")
            if name in came
        }
        weight, flush = came.get("weight"), came.get("flush", False)
        ok, w = jnp.isfinite(squares), jnp.ones([], real)
        if weight is not None:
            own = _scalar("weight", weight, real)
            ok &= jnp.isfinite(own) & (own >= 0)
            w = mean_across(own, self.axis_name)
        if self.check_value and "value" in told:
            ok &= jnp.isfinite(told["value"])
        ok = everywhere(ok, self.axis_name)
        first, last = state.micro == 0, self.is_last(state, flush)
        counts = ok if weight is None else ok & (w > 0)
        good = counted(where(first, 0, state.good), counts)
        total = where(first, 0, state.weight) + where(counts, w, 0)
        share = share_of(w, total)

        def mean(old: Array, new: Array) -> Array:
            return running_mean(old, new, counts, first, share)

        means = [mean(leaf.slots[0], leaf.grad) for leaf in leaves] if keeps else grads
        if inside.gate is not None and keeps:
            rows = zip(means, leaves, strict=True)
            means = [where(inside.gate, x, leaf.slots[0]) for x, leaf in rows]
        mean_squares = mean(state.squares, square_sum_across(grads, self.axis_name))
        value, metric = state.value, state.metric
        if keeps:
            value = value.after(told.get("value"), where(counts, w, 0), first)
            metric = metric.after(told.get("metric"), jnp.ones([], real), first)
            told = {
                name: x.told() for name, x in (("value", value), ("metric", metric)) if name in told
            }

        emit = last & (good > 0)
        mean_grads = structure.unflatten(means)
        new_updates, inner = inside.run(mean_grads, state.inner, gate=emit, weight=None, **told)
        return new_updates, AccumulateState(
            inner=inner,
            mean=mean_grads if keeps else state.mean,
            micro=where(last, 0, state.micro + 1),
            good=good,
            weight=total,
            value=value,
            metric=metric,
            squares=mean_squares,
            rounds=counted(state.rounds, emit),
            dropped=counted(state.dropped, ~ok),
            noise=self._noise(state.noise, means, mean_squares, good, emit),
        )

    def is_last(self, state: AccumulateState, flush: ArrayLike) -> Bool[Array, ""]:
        """Whether this micro-batch makes a step: more than `every` may have come before it, under
        an earlier setting."""
        if isinstance(self.every, int):
            last = state.micro >= self.every - 1
        else:
            long = number_at("accumulate: every", self.every, state.rounds)
            # Where the schedule says NaN there is a step too.
            last = ~((state.micro + 1).astype(long.dtype) < long - 0.5)
        if jnp.ndim(flush):
            raise ValueError(
                "accumulate: flush must be True or False, got an array of shape "
                f"{jnp.shape(flush)}."
            )
        return last if flush is False else last | jnp.asarray(flush, bool)

    def _noise(
        self, old: Noise, means: list[Array], squares: Array, good: Array, emit: Array
    ) -> Noise:
        if self.of_one:
            return old
        of_mean = square_sum_across(means, self.axis_name)
        return add_noise_terms(old, squares, of_mean, good, emit)


def _is_nothing(mean: Params) -> bool:
    return isinstance(mean, tuple) and not mean


def _scalar(name: str, x: ArrayLike, real: DTypeLike) -> Float[Array, ""]:
    if jnp.ndim(x):
        raise ValueError(
            f"accumulate: {name} must be a scalar, got an array of shape {jnp.shape(x)}."
            f"{' Give the mean over the batch.' * (name == 'value')}"
        )
    return jnp.asarray(x).astype(real)


def share_of(weight: Array, total: Array) -> Array:
    return weight / where(total > 0, total, 1)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def running_mean(old: Array, new: ArrayLike, ok: Array, first: Array, share: Array) -> Array:
    """The running mean after `new`, in the dtype in which it is kept."""
    before = where(first, jnp.zeros_like(old), old)
    displacement = jnp.asarray(new).astype(old.dtype) - before
    after = before + displacement * share.astype(jnp.finfo(old.dtype).dtype)
    return where(ok, after, before)


@transformation
def accumulate(inner: Base, every: Every, *, check_value: Flag = True, axis_name: AxisName = None):
    """Gradient accumulation: one step for every `every` micro-batches, by their mean gradient.

    In between, updates change no parameter, and nothing inside moves: schedules and moments count
    optimizer steps. A micro-batch whose gradients (or `value`) are not finite is dropped, and the
    mean is that of the others; if none is left there is no update.

    `update` takes two more arguments. `weight=` is how much a micro-batch counts in the mean, at
    least 0: its number of tokens, where its loss is a mean over them. One without weight, or with
    one that is not a finite number of that range, is not in the mean. `flush=True` makes the step
    with what is there, for the last micro-batch of an epoch; `funcopt.flush` does so after it.

    Args:
        inner: the transformation that gets the means, in float32 or wider. A guard or a clip
            inside judges the mean.
        every: how many micro-batches make a step, at least 1, which keeps no buffer; or a schedule
            of it, a function of the optimizer step whose number is rounded, for batches that grow.
        check_value: whether a `value` that is not finite drops its micro-batch.
        axis_name: mapped axes over which that is decided together, and over which `value`, `metric`
            and `weight` are averaged.

    The `value` that arrives inside is the mean of those that came, with the same weights; so is
    `metric`, without. Where `every` is another one than in the run that a state comes from, the
    round goes on with it. Reports `micro_step`, the number of micro-batches `dropped`, and
    `noise_scale` in micro-batches, see `funcopt.metrics`.

    Raises:
        TypeError: `every` is a schedule that listens to a metric.
        ValueError: an argument is out of its range, a `loss_scale` is inside, where it would never
            see an overflow, or a state that was made with `every=1` is to go on with more.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.accumulate(funcopt.sgd(1.0), every=2)
    >>> params, state = jnp.array([0.0]), tx.init(jnp.array([0.0]))
    >>> for grad in (1.0, 3.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    ...     print(params)
    [0.]
    [-2.]
    >>> for grad, tokens in ((1.0, 10), (3.0, 30)):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params, weight=tokens)
    >>> params
    Array([-4.5], dtype=float32)
    """
    return Accumulate(inner, every, check_value, axis_name)
