"""The log of what went wrong, and what is wrong with a step, leaf by leaf."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..math.counts import counted
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
    at = jnp.where(over < 0, events.seen, FIRST_EVENTS + over % LAST_EVENTS)
    what = jnp.stack([jnp.asarray(x, jnp.int32) for x in (step, event.kind, event.row)])
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
    usual = jnp.where(mean[:, 0] > absent(mean.dtype), mean[:, 0], log2(size))
    # The first that is not finite, or the one whose norm stands out beside its usual one.
    broken = (~ill.finite & ~jnp.isfinite(norms)).astype(jnp.int32)
    all_broken = jnp.sum(broken)
    any_broken = all_broken > 0
    strange = jnp.where(any_broken, broken.astype(mean.dtype), log2(norms) - usual)
    worst = _place_of_largest(strange)
    event = LoggedEvent(jnp.int32(KINDS.index("spike")), worst, ill.norm)
    for name, case, row, number in (
        ("loss", ~jnp.isfinite(ill.loss), jnp.int32(-1), ill.loss),
        ("overflow", ~ill.finite, worst, ill.norm),
        ("nonfinite", any_broken, worst, all_broken.astype(mean.dtype)),
    ):
        found = LoggedEvent(jnp.int32(KINDS.index(name)), row, number)
        event = jax.tree.map(partial(jnp.where, case), found, event)
    return broken, event


def _place_of_largest(x: Array) -> Int[Array, ""]:
    """As `argmax`, -1 of nothing."""
    if not x.size:
        return jnp.int32(-1)
    places = jnp.arange(x.size, dtype=jnp.int32)
    return jnp.min(jnp.where(x == jnp.max(x), places, x.size - 1))
