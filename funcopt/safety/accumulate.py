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
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from optax import OptState, Params, Updates

from ..core.arguments import AxisName, Base, Flag, Hyperparameter, NumberOfSteps, number_at
from ..core.leaves import gradients_beside, in_full, parameters
from ..core.schedule import listens
from ..core.transformation import gated, transformation
from ..math.counts import counted
from ..math.dtypes import common_dtype
from ..math.global_norm import square_sum
from ..math.noise_scale import Noise, add_noise_terms, no_noise, noise_scale
from ..math.varying import mean_across
from .agreement import everywhere, square_sum_across, varying_state
from .loss_scale import refuse_loss_scale


def _every(where: str, x: Any) -> Any:
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
        before = jnp.where(first, 0, self.weight)
        if x is None:
            return Heard(self.mean, before)
        news = jnp.isfinite(x) & (weight > 0)
        after = before + jnp.where(news, weight, 0)
        return Heard(running_mean(self.mean, x, news, before == 0, share_of(weight, after)), after)

    def told(self) -> Float[Array, ""]:
        return jnp.where(self.weight > 0, self.mean, jnp.nan)


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

    def metrics(self) -> dict[str, Array]:
        return {
            "micro_step": self.micro,
            "dropped": self.dropped,
            "noise_scale": noise_scale(self.noise),
        }


@dataclass(frozen=True)
class _Accumulate:
    inner: Any
    every: Any
    check_value: bool
    axis_name: Any

    @property
    def of_one(self) -> bool:
        """Whether each micro-batch makes a step, so that no mean has to be kept."""
        return isinstance(self.every, int) and self.every == 1

    def init(self, params: Params) -> AccumulateState:
        arrays, structure = parameters(params)
        inner = self.inner.init(params)
        refuse_loss_scale("accumulate", inner)
        mean = jax.tree.unflatten(structure, [jnp.zeros_like(x) for x in arrays])
        real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
        counts = iter([jnp.zeros([], jnp.int32) for _ in range(4)])
        numbers = iter([jnp.zeros([], real) for _ in range(6)])
        state = AccumulateState(
            inner=inner,
            mean=() if self.of_one else mean,
            micro=next(counts),
            good=next(counts),
            weight=next(numbers),
            value=Heard(next(numbers), next(numbers)),
            metric=Heard(next(numbers), next(numbers)),
            squares=next(numbers),
            rounds=next(counts),
            dropped=next(counts),
            noise=no_noise(real),
        )
        return varying_state(state, arrays, self.axis_name)

    def update(
        self,
        updates: Updates,
        state: AccumulateState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        flush: ArrayLike = False,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, AccumulateState]:
        if not isinstance(state, AccumulateState):
            raise ValueError(
                f"accumulate got a {type(state).__name__} as its state, expected an "
                "AccumulateState: `tx.init(params)` makes one, and the order of arguments is "
                "`tx.update(grads, state, params)`."
            )
        state = in_full(state._replace(inner=()))._replace(inner=state.inner)
        # Another `every` than the state was made with changes nothing of its structure.
        keeps = not _is_nothing(state.mean) or not self.of_one
        if keeps and _is_nothing(state.mean) and jax.tree.leaves(updates):
            raise ValueError(
                "accumulate: the state was made with every=1, which keeps no mean of gradients. "
                f"Go on with every={self.every!r} from "
                "`tx.init(params)._replace(inner=state.inner)`."
            )
        leaves, structure = gradients_beside(
            updates, params, [state.mean] if keeps else [], names=["mean"]
        )
        grads = [leaf.grad for leaf in leaves]
        real = state.weight.dtype
        squares = square_sum([x for x in grads if jnp.size(x)])
        told = {
            name: mean_across(_scalar(name, x, real), self.axis_name)
            for name, x in (("value", value), ("metric", metric))
            if x is not None
        }
        ok, w = jnp.isfinite(squares), jnp.ones([], real)
        if weight is not None:
            own = _scalar("weight", weight, real)
            ok &= jnp.isfinite(own) & (own >= 0)
            w = mean_across(own, self.axis_name)
        if self.check_value and value is not None:
            ok &= jnp.isfinite(told["value"])
        ok = everywhere(ok, self.axis_name)
        first, last = state.micro == 0, self.is_last(state, flush)
        counts = ok if weight is None else ok & (w > 0)
        good = counted(jnp.where(first, 0, state.good), counts)
        total = jnp.where(first, 0, state.weight) + jnp.where(counts, w, 0)
        share = share_of(w, total)

        def mean(old: Array, new: Any) -> Array:
            return running_mean(old, new, counts, first, share)

        means = [mean(leaf.slots[0], leaf.grad) for leaf in leaves] if keeps else grads
        if gate is not None and keeps:
            means = [
                jnp.where(gate, x, leaf.slots[0]) for x, leaf in zip(means, leaves, strict=True)
            ]
        mean_squares = mean(state.squares, square_sum_across(grads, self.axis_name))
        weights = {"value": jnp.where(counts, w, 0), "metric": jnp.ones([], real)}
        heard = {name: getattr(state, name) for name in weights}
        if keeps:
            heard = {
                name: x.after(told.get(name), weights[name], first) for name, x in heard.items()
            }

        emit = last & (good > 0) if gate is None else last & (good > 0) & gate
        given: dict[str, Any] = {
            name: heard[name].told() if keeps else x for name, x in told.items()
        }
        if flush is not False:
            given["flush"] = flush
        new_updates, inner = self.inner.update(
            jax.tree.unflatten(structure, means),
            state.inner,
            params,
            gate=emit,
            **given,
            **extra_args,
        )
        new = {
            "micro": jnp.where(last, 0, state.micro + 1),
            "good": good,
            "weight": total,
            **heard,
            "squares": mean_squares,
            "rounds": counted(state.rounds, emit),
            "dropped": counted(state.dropped, ~ok),
            "noise": self._noise(state.noise, means, mean_squares, good, emit),
        }
        old = {name: getattr(state, name) for name in new}
        if gate is not None:
            new = jax.tree.map(lambda a, b: jnp.where(gate, a, b), new, old)
        kept = jax.tree.unflatten(structure, means) if keeps else state.mean
        return new_updates, AccumulateState(inner=inner, mean=kept, **new)

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


def _scalar(name: str, x: ArrayLike, real: Any) -> Float[Array, ""]:
    if jnp.ndim(x):
        raise ValueError(
            f"accumulate: {name} must be a scalar, got an array of shape {jnp.shape(x)}."
            f"{' Give the mean over the batch.' * (name == 'value')}"
        )
    return jnp.asarray(x).astype(real)


def share_of(weight: Array, total: Array) -> Array:
    return weight / jnp.where(total > 0, total, 1)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def running_mean(old: Array, new: Any, ok: Array, first: Array, share: Array) -> Array:
    """The running mean after `new`, in the dtype in which it is kept."""
    before = jnp.where(first, jnp.zeros_like(old), old)
    displacement = jnp.asarray(new).astype(old.dtype) - before
    after = before + displacement * share.astype(jnp.finfo(old.dtype).dtype)
    return jnp.where(ok, after, before)


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
    return _Accumulate(gated(inner), every, check_value, axis_name)
