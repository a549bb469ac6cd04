"""optax's `MultiSteps` and `zero_nans`, as `funcopt.accumulate` and `funcopt.zero_nans` have them.

In between, what is inside of `MultiSteps` is gated: its state is not selected from two.
"""

from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import MultiStepsState, OptState, Params, Updates

from ..core.transformation import gated
from ..math.counts import counted
from ..safety.accumulate import running_mean


class MultiSteps(optax.MultiSteps):
    """One step of an optimizer for several micro-batches: optax's class and its state.

    Args:
        opt: the optimizer.
        every_k_schedule: how many micro-batches make a step; or a function of the number of steps
            so far, for batches that grow.
        use_grad_mean: whether the optimizer gets the mean gradient, or the sum.
        should_skip_update_fn: a function of the gradients, the number of steps so far and the
            parameters, that says whether a micro-batch is left out, as if it had never come, and
            something to be kept as `skip_state`.
        accumulator_dtype: in which gradients are accumulated.

    `funcopt.accumulate` also weighs micro-batches, means the loss, and tells a noise scale.

    >>> import funcopt.optax as optax, jax.numpy as jnp
    >>> tx, params = optax.MultiSteps(optax.sgd(1.0), every_k_schedule=2), jnp.zeros(1)
    >>> state = tx.init(params)
    >>> for grad in (1.0, 3.0):
    ...     updates, state = tx.update(jnp.array([grad]), state, params)
    >>> updates, int(state.gradient_step), bool(tx.has_updated(state))
    (Array([-2.], dtype=float32), 1, True)
    """

    def update(
        self,
        updates: Updates,
        state: MultiStepsState,
        params: Params | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MultiStepsState]:
        """Accumulates gradients, and steps where there are enough of them."""
        gate = extra_args.pop("gate", None)
        judged: Any = self._should_skip_update_fn(updates, state.gradient_step, params)
        skip, skip_state = judged
        if (skip.dtype, skip.shape) != (jnp.bool_, ()):
            raise ValueError(
                "MultiSteps: should_skip_update_fn should return a boolean scalar array, got "
                f"{skip.dtype} of shape {skip.shape}."
            )
        takes = ~skip if gate is None else ~skip & gate
        after = counted(jnp.asarray(state.mini_step), takes)
        emit = takes & (after >= self._every_k_schedule(state.gradient_step))
        part = 1 / jnp.maximum(after, 1).astype(jnp.float32)

        def taken_in(total: Array, grad: Array) -> Array:
            if self._use_grad_mean:
                return running_mean(total, grad, takes, False, part)
            return jnp.where(takes, total + jnp.asarray(grad).astype(total.dtype), total)

        sums = jax.tree.map(taken_in, state.acc_grads, updates)
        grads = jax.tree.map(lambda x, like: x.astype(jnp.result_type(like)), sums, updates)
        step, inner = gated(self._opt).update(
            grads, state.inner_opt_state, params, gate=emit, **extra_args
        )
        return step, MultiStepsState(
            mini_step=jnp.where(emit, 0, after),
            gradient_step=counted(jnp.asarray(state.gradient_step), emit),
            inner_opt_state=inner,
            acc_grads=jax.tree.map(lambda x: jnp.where(emit, jnp.zeros_like(x), x), sums),
            skip_state=skip_state,
        )


class ZeroNansState(optax.ZeroNansState):
    """optax's, whose `found_nan` is of the last update, with `nan_count`, which is of the whole
    run: the number of elements of each parameter's gradients.
    """

    _fields = ("found_nan", "nan_count")
    nan_count = property(itemgetter(1))

    def __new__(cls, found_nan: Params, nan_count: Params):
        return tuple.__new__(cls, (found_nan, nan_count))

    def _replace(self, **changes: Params) -> "ZeroNansState":  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self)(**{**dict(zip(self._fields, self, strict=True)), **changes})


def zero_nans() -> optax.GradientTransformationExtraArgs:
    """NaN in gradients are taken for 0, and counted: `funcopt.zero_nans` over optax's state.

    >>> import funcopt.optax as optax, jax.numpy as jnp
    >>> tx = optax.zero_nans()
    >>> updates, state = tx.update(jnp.array([jnp.nan, 1.0]), tx.init(jnp.zeros(2)))
    >>> updates, bool(state.found_nan), int(state.nan_count)
    (Array([0., 1.], dtype=float32), True, 1)
    """

    def init(params: Params) -> ZeroNansState:
        none = jax.tree.map(lambda _: jnp.zeros([], jnp.int32), params)
        return ZeroNansState(jax.tree.map(lambda x: x > 0, none), none)

    def update(
        updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, ZeroNansState]:
        del params, extra_args  # what is a number is seen from the gradient
        nan = jax.tree.map(jnp.isnan, updates)
        found = jax.tree.map(jnp.any, nan)
        # A state of optax's own has no counts.
        has = isinstance(state, ZeroNansState)
        before = state.nan_count if has else init(updates).nan_count
        counts = jax.tree.map(lambda n, x: counted(n, jnp.sum(x, dtype=jnp.int32)), before, nan)
        zeroed = jax.tree.map(lambda x, g: jnp.where(x, jnp.zeros_like(g), g), nan, updates)
        return zeroed, ZeroNansState(found, counts)

    return optax.GradientTransformationExtraArgs(init, update)
