"""Elements of a gradient that are not a number are taken for 0, and counted.

u = g where g is a number, else 0         an infinity is one
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.optimizer import lift
from ..core.report import Total
from ..core.rule import Clock, Exact, Rule, rule
from ..core.transformation import transformation


class ZeroNansSlots(NamedTuple):
    """How many elements of a parameter's gradients were NaN, over the whole run."""

    nan_count: Exact


class ZeroNansReport(NamedTuple):
    """The same for all parameters together; and how many of these had one in the last gradient."""

    nans: Total = 0.0
    nan_leaves: Total = 0.0


@rule(acts_on="element", slots=ZeroNansSlots, report=ZeroNansReport)
class ZeroNans(Rule):
    def init(self, param: Inexact[Array, "*p"]) -> ZeroNansSlots:
        return ZeroNansSlots(jnp.sum(jnp.zeros_like(param, jnp.int32), dtype=jnp.int32))

    def update(self, grad: Inexact[Array, "*p"], slots: ZeroNansSlots, param, clock: Clock):
        del param  # what is a number is seen from the gradient
        nan = jnp.isnan(grad)
        found = jnp.sum(nan, dtype=jnp.int32)
        slots = clock.renew(slots, nan_count=slots.nan_count + found)
        real = jnp.finfo(grad.dtype).dtype
        report = ZeroNansReport(slots.nan_count.astype(real), (found > 0).astype(real))
        return jnp.where(nan, jnp.zeros_like(grad), grad), slots, report


@transformation
def zero_nans():
    """Take NaN in gradients for 0, and count how many there were.

    It keeps a run alive in which some elements are NaN at times, at the price of steps in a
    direction that is no gradient; `funcopt.guard` skips such steps. An infinity passes.

    Its state counts for each parameter how many elements were NaN over the run, `nan_count`, and
    reports as `nans` the sum of these and as `nan_leaves` how many parameters had any in the
    last update, see `funcopt.metrics`. In `jax.shard_map` each device counts its own.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.zero_nans(), {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    >>> grads = {"a": jnp.array([jnp.nan, 1.0]), "b": jnp.array([2.0])}
    >>> updates, state = tx.update(grads, tx.init(params))
    >>> updates["a"], float(funcopt.metrics(state)["nans"]), int(state.nan_count["a"])
    (Array([0., 1.], dtype=float32), 1.0, 1)

    `optax.zero_nans` tells the parameters of the last update only.
    """
    return lift(ZeroNans())
