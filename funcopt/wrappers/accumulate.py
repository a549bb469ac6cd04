"""Gradient accumulation: one step for the mean gradient of several micro-batches.

    mean ← mean + (g − mean) / n        for the n-th good micro-batch, in float32
    every micro-batches: one update of the inner transformation with the mean

The running mean is the accumulator itself, so that nothing is divided or reset at the end. The
inner transformation is gated: measured on the CPU, that is faster than a `lax.cond` around it,
which has to copy what it hands through.

From the norms of the micro-batches and of their mean follows the gradient noise scale, in
micro-batches: see `funcopt.math.noise_scale`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from optax import OptState, Params, Updates

from ..leaves import gradients_beside, parameters
from ..math.dtypes import common_dtype
from ..math.noise_scale import Noise, add_noise_terms, no_noise, noise_scale
from ..transformation import gated, transformation
from ..tree.norm import square_sum
from ..value import AxisName, Base, Flag, Steps
from .agreement import everywhere
from .loss_scale import refuse_loss_scale


class AccumulateState(NamedTuple):
    """`micro` micro-batches of this round came, of which `good` are in the mean.

    `value` is the mean of the `values` finite values that came with them, `squares` that of their
    squared norms; `dropped` counts bad ones over the whole run.
    """

    inner: OptState
    mean: Params
    micro: Int[Array, ""]
    good: Int[Array, ""]
    value: Float[Array, ""]
    values: Int[Array, ""]
    squares: Float[Array, ""]
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
    every: int
    check_value: bool
    axis_name: Any

    def init(self, params: Params) -> AccumulateState:
        arrays, structure = parameters(params)
        inner = self.inner.init(params)
        refuse_loss_scale("accumulate", inner)
        mean = jax.tree.unflatten(structure, [jnp.zeros_like(x) for x in arrays])
        counts = [jnp.zeros([], jnp.int32) for _ in range(4)]
        numbers = [jnp.zeros([], jnp.float32) for _ in range(2)]
        return AccumulateState(
            inner=inner,
            mean=mean if self.every > 1 else (),
            micro=counts[0],
            good=counts[1],
            value=numbers[0],
            values=counts[2],
            squares=numbers[1],
            dropped=counts[3],
            noise=no_noise(),
        )

    def update(
        self,
        updates: Updates,
        state: AccumulateState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, AccumulateState]:
        if not isinstance(state, AccumulateState):
            raise ValueError(
                f"accumulate got a {type(state).__name__} as its state, expected an "
                "AccumulateState: `tx.init(params)` makes one, and the order of arguments is "
                "`tx.update(grads, state, params)`."
            )
        slots = [state.mean] if self.every > 1 else []
        leaves, structure = gradients_beside(updates, params, slots)
        grads = [leaf.grad for leaf in leaves]
        squares = square_sum([x for x in grads if jnp.size(x)])
        if value is not None and self.axis_name is not None:
            value = jax.lax.pmean(jnp.asarray(value), self.axis_name)
        ok = jnp.isfinite(squares) & _finite(value if self.check_value else None)
        ok = everywhere(ok, self.axis_name)
        first, last = state.micro == 0, state.micro + 1 == self.every
        good = jnp.where(first, 0, state.good) + ok.astype(jnp.int32)

        def mean(old: Array, new: Any) -> Array:
            return _mean(old, new, ok, first, good)

        means = [mean(leaf.slots[0], leaf.grad) for leaf in leaves] if slots else grads
        mean_value, values = self._value(state, value, ok, first)
        if gate is not None and slots:
            means = [
                jnp.where(gate, x, leaf.slots[0]) for x, leaf in zip(means, leaves, strict=True)
            ]
        mean_squares = mean(state.squares, squares)

        emit = last & (good > 0) if gate is None else last & (good > 0) & gate
        heard = jnp.where(values > 0, mean_value, jnp.nan) if slots else value
        given = {} if value is None else {"value": heard}
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
            "value": mean_value,
            "values": values,
            "squares": mean_squares,
            "dropped": state.dropped + (~ok).astype(jnp.int32),
            "noise": self._noise(state.noise, means, mean_squares, good, emit),
        }
        if gate is not None:
            old = {name: getattr(state, name) for name in new}
            new = jax.tree.map(lambda a, b: jnp.where(gate, a, b), new, old)
        kept = jax.tree.unflatten(structure, means) if slots else ()
        return new_updates, AccumulateState(inner=inner, mean=kept, **new)

    def _value(
        self, state: AccumulateState, value: ArrayLike | None, ok: Array, first: Array
    ) -> tuple[Array, Array]:
        """The mean of the finite values of this round, and their number."""
        if value is None or self.every == 1:
            return state.value, state.values
        ok = ok & _finite(value)
        values = jnp.where(first, 0, state.values) + ok.astype(jnp.int32)
        return _mean(state.value, value, ok, first, values), values

    def _noise(
        self, old: Noise, means: list[Array], squares: Array, good: Array, emit: Array
    ) -> Noise:
        if self.every == 1:
            return old
        of_mean = square_sum([x for x in means if jnp.size(x)])
        return add_noise_terms(old, squares, of_mean, good, emit)


def _finite(value: ArrayLike | None) -> Bool[Array, ""]:
    return jnp.ones([], bool) if value is None else jnp.isfinite(jnp.asarray(value)).all()


def _mean(old: Array, new: Any, ok: Array, first: Array, good: Array) -> Array:
    """The running mean after `new`, in the dtype in which it is kept."""
    real = jnp.finfo(old.dtype).dtype
    share = 1 / jnp.maximum(good, 1).astype(real)
    before = jnp.where(first, jnp.zeros_like(old), old)
    after = before + (jnp.asarray(new).astype(old.dtype) - before) * share
    return jnp.where(ok, after, before)


@transformation
def accumulate(inner: Base, every: Steps, *, check_value: Flag = True, axis_name: AxisName = None):
    """Update once for every `every` micro-batches, with the mean of their gradients.

    In between, updates change no parameter, and nothing inside moves: schedules and moments count
    optimizer steps. A micro-batch whose gradients (or `value`) are not finite is dropped, and the
    mean is that of the others; if none is left there is no update.

    Args:
        inner: the transformation that gets the means, in float32 or wider. A guard or a clip
            inside judges the mean.
        every: how many micro-batches make a step, at least 1, which keeps no buffer.
        check_value: whether a `value` that is not finite drops its micro-batch.
        axis_name: mapped axes over which that is decided together, and `value` is averaged.

    The `value` that arrives inside is the mean of those that came. Reports `micro_step`, the number
    of micro-batches `dropped`, and `noise_scale` in micro-batches, see `funcopt.metrics`.

    Raises:
        ValueError: an argument is out of its range, or a `loss_scale` is inside, where it would
            never see an overflow.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.accumulate(funcopt.sgd(1.0), every=2)
    >>> params, state = jnp.array([0.0]), tx.init(jnp.array([0.0]))
    >>> for grad in (1.0, 3.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    ...     print(params)
    [0.]
    [-2.]
    """
    return _Accumulate(gated(inner), every, check_value, axis_name)


def microbatched(
    value_and_grad: Callable[..., tuple[Any, Updates]], params: Params, batches: Any
) -> tuple[Float[Array, ""], Updates]:
    """The mean loss and gradient over micro-batches, one after the other in a `lax.scan`.

    Where all micro-batches of a step are at hand, this needs no wrapper: the optimizer runs once.

    Args:
        value_and_grad: `(params, batch) -> (loss, grads)`, such as `jax.value_and_grad(loss_fn)`.
        params: a tree of arrays.
        batches: a tree of arrays whose first axis counts the micro-batches.

    Returns:
        The mean loss and the mean gradients in float32 or wider, over the micro-batches whose loss
        and gradients are finite; NaN where there is none, which a `guard` skips.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w, x: jnp.mean((w - x) ** 2)
    >>> batches = jnp.array([[1.0], [2.0], [jnp.nan]])
    >>> funcopt.microbatched(jax.value_and_grad(loss), jnp.array(0.0), batches)
    (Array(2.5, dtype=float32), Array(-3., dtype=float32))
    """

    def add(carry, batch):
        (loss, grads), good = carry
        new_loss, new_grads = value_and_grad(params, batch)
        leaves = jax.tree.leaves(new_grads)
        ok = jnp.isfinite(square_sum([x for x in leaves if jnp.size(x)])) & _finite(new_loss)
        good += ok.astype(good.dtype)
        first = jnp.zeros([], bool)
        mean = jax.tree.map(
            lambda old, new: _mean(old, new, ok, first, good), (loss, grads), (new_loss, new_grads)
        )
        return (mean, good), None

    def zeros(x: Any) -> Array:
        return jnp.zeros(jnp.shape(x), common_dtype(jnp.float32, jnp.result_type(x)))

    first = jax.tree.map(lambda x: x[0], batches)
    shapes = jax.eval_shape(value_and_grad, params, first)
    start = jax.tree.map(lambda x: zeros(x), shapes), jnp.zeros([], jnp.int32)
    (mean, good), _ = jax.lax.scan(add, start, batches)
    loss, grads = jax.tree.map(lambda x: jnp.where(good > 0, x, jnp.nan), mean)
    return loss, grads
