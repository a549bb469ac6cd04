"""The log of what went wrong, and what is wrong with a step, leaf by leaf."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..math.choice import where
from ..math.counts import counted
from ..math.one_loop import packed
from .columns import absent, tidy
from .layers import Rows
from .recorder import log2

FIRST_EVENTS, LAST_EVENTS = 16, 16

KINDS = ("none", "nonfinite", "overflow", "loss", "spike", "skipped")
"""What an event may be."""


class Events(NamedTuple):
    """The first `FIRST_EVENTS` and the last `LAST_EVENTS` of the `seen` events.

    `what` has the step, the place in `KINDS` and the row of each, -1 for none.
    """

    seen: Int[Array, ""]
    what: Int[Array, "events 3"]
    value: Float[Array, " events"]


class Ailment(NamedTuple):
    """What is wrong with a step. The norm and the loss are what an event may show."""

    finite: Bool[Array, ""]
    spike: Bool[Array, ""]
    norm: Float[Array, ""]
    loss: Float[Array, ""]


def no_events(dtype: Any) -> Events:
    what = jnp.tile(jnp.array([-1, 0, -1], jnp.int32), (FIRST_EVENTS + LAST_EVENTS, 1))
    value = jnp.zeros(FIRST_EVENTS + LAST_EVENTS, dtype)
    return Events(jnp.zeros([], jnp.int32), what, value)


class LoggedEvent(NamedTuple):
    """One of `KINDS`, the row that it concerns, -1 for all of them, and a number to show."""

    kind: Int[Array, ""]
    row: Int[Array, ""]
    value: Float[Array, ""]


def refusal(norm: Float[Array, ""]) -> LoggedEvent:
    """A step that was skipped inside, of which nothing else is known."""
    return LoggedEvent(jnp.int32(KINDS.index("skipped")), jnp.int32(-1), norm)


def add_event(events: Events, step: Array, event: LoggedEvent) -> Events:
    over = events.seen - FIRST_EVENTS
    at = where(over < 0, events.seen, FIRST_EVENTS + over % LAST_EVENTS)
    what = packed([jnp.asarray(x, jnp.int32) for x in (step, event.kind, event.row)])
    return Events(
        counted(events.seen, jnp.ones([], bool)),
        jax.lax.dynamic_update_index_in_dim(events.what, what, at, 0),
        jax.lax.dynamic_update_index_in_dim(events.value, tidy(event.value), at, 0),
    )


def diagnosed(
    rows: Rows, norms: Float[Array, " rows"], mean: Array, ill: Ailment
) -> tuple[Int[Array, " rows"], LoggedEvent]:
    """Which rows are not finite, and the event.

    Args:
        rows, norms: the parameters, and the norms of their gradients.
        mean: the running means, whose first column has the log2 of usual norms.
        ill: what is known about the step as a whole.
    """
    size = jnp.sqrt(jnp.array(rows.sizes, mean.dtype))
    usual = where(mean[:, 0] > absent(mean.dtype), mean[:, 0], log2(size))
    broken = (~ill.finite & ~jnp.isfinite(norms)).astype(jnp.int32)
    # The first that is not finite, or the one whose norm stands out beside its usual one.
    strange = where(broken > 0, jnp.inf, log2(norms) - usual)
    all_broken, worst = _sum_and_place_of_largest(broken, strange)
    any_broken = all_broken > 0
    event = LoggedEvent(jnp.int32(KINDS.index("spike")), worst, ill.norm)
    for name, case, row, number in (
        ("loss", ~jnp.isfinite(ill.loss), jnp.int32(-1), ill.loss),
        ("overflow", ~ill.finite, worst, ill.norm),
        ("nonfinite", any_broken, worst, all_broken.astype(mean.dtype)),
    ):
        found = LoggedEvent(jnp.int32(KINDS.index(name)), row, number)
        event = jax.tree.map(partial(where, case), found, event)
    return broken, event


def _sum_and_place_of_largest(
    counts: Int[Array, " rows"], x: Float[Array, " rows"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The sum of the counts, and where `x` is largest first, -1 of nothing; in one loop, which has
    no derivative.
    """
    x = jax.lax.stop_gradient(x)

    def combine(a: Any, b: Any) -> tuple[Array, Array, Array]:
        is_first = (a[1] > b[1]) | ((a[1] == b[1]) & (a[2] <= b[2]))
        return a[0] + b[0], jnp.maximum(a[1], b[1]), where(is_first, a[2], b[2])

    places = jnp.zeros_like(counts) + jnp.arange(x.size, dtype=counts.dtype)  # where counts lie
    least = np.int32(0), np.array(-np.inf, x.dtype), np.int32(-1)
    many, _, place = jax.lax.reduce((counts, x, places), least, combine, (0,))
    return many, place
