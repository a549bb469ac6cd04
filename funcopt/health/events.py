"""The log of what went wrong, and what is wrong with a step, leaf by leaf."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .layers import Rows
from .recorder import log2
from .statistics import ABSENT, diagnose, tidy

FIRST_EVENTS, LAST_EVENTS = 16, 16

KINDS = ("none", "nonfinite", "overflow", "loss", "spike", "refused")
"""What an event may be."""


class Events(NamedTuple):
    """The first `FIRST_EVENTS` and the last `LAST_EVENTS` of the `seen` events."""

    seen: Int[Array, ""]
    step: Int[Array, " events"]
    kind: Int[Array, " events"]
    row: Int[Array, " events"]
    value: Float[Array, " events"]


class Ailment(NamedTuple):
    """What is wrong with a step. The norm and the loss are what an event may show."""

    finite: Bool[Array, ""]
    spike: Bool[Array, ""]
    norm: Float[Array, ""]
    loss: Float[Array, ""]


def no_events() -> Events:
    step, kind, row = (jnp.full(FIRST_EVENTS + LAST_EVENTS, x, jnp.int32) for x in (-1, 0, -1))
    value = jnp.zeros(FIRST_EVENTS + LAST_EVENTS, jnp.float32)
    return Events(jnp.zeros([], jnp.int32), step, kind, row, value)


def add_event(events: Events, step: Array, kind: Array, row: Array, value: Array) -> Events:
    over = events.seen - FIRST_EVENTS
    at = jnp.where(over < 0, events.seen, FIRST_EVENTS + over % LAST_EVENTS)
    put = [
        old.at[at].set(jnp.asarray(new, old.dtype))
        for old, new in zip(events[1:], (step, kind, row, tidy(value)), strict=True)
    ]
    return Events(events.seen + 1, *put)


def diagnosed(
    rows: Rows, grads: list[Array], mean: Array, ill: Ailment
) -> tuple[Int[Array, " rows"], tuple[Array, Array, Array]]:
    """Which rows are not finite, and the event: its kind, its row and its number.

    Args:
        rows, grads: the leaves, and their gradients.
        mean: the running means, whose first column has the log2 of usual norms.
        ill: what is known about the step as a whole.
    """
    parts = [diagnose(g, axis) for g, axis in zip(grads, rows.axes, strict=True)]
    start = [(jnp.zeros(0, jnp.float32),) * 2]
    broken, largest = (jnp.concatenate(column) for column in zip(*start, *parts, strict=True))
    size = jnp.sqrt(jnp.array(rows.sizes, jnp.float32))
    usual = jnp.where(mean[:, 0] > ABSENT, mean[:, 0], log2(size))
    # The row that stands out most: its largest element beside its usual norm.
    first, worst = (
        jnp.argmax(x).astype(jnp.int32) if x.size else jnp.int32(-1)
        for x in (broken > 0, log2(largest) - usual)
    )
    nowhere = jnp.int32(-1)
    cases = [
        ("nonfinite", (broken > 0).any(), first, jnp.sum(broken)),
        ("overflow", ~ill.finite, worst, ill.norm),
        ("loss", ~jnp.isfinite(ill.loss), nowhere, ill.loss),
        ("spike", ill.spike, worst, ill.norm),
    ]
    whether = [case for _, case, _, _ in cases]
    kinds = [jnp.int32(KINDS.index(name)) for name, *_ in cases]
    kind = jnp.select(whether, kinds, jnp.int32(KINDS.index("refused")))
    row = jnp.select(whether, [row for *_, row, _ in cases], nowhere)
    number = jnp.select(whether, [number for *_, number in cases], ill.norm)
    return (broken > 0).astype(jnp.int32), (kind, row, number)
