"""Single steps whose gradient dwarfs the usual one, and what the loss did after them.

    ratio = norm · clip_ratio / usual        usual: the running geometric mean of norms
    level = mean of the last 10 losses
    ratio ≥ `SURGE`: a surge; the level before it is compared with that `AFTERWARDS` steps later

Where norms vary much, such a step is no outlier, and it throws a network all the same. What a clip
has shortened to about the usual length is none.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..math.choice import where
from ..math.counts import counted
from ..math.once import number_once
from ..math.one_loop import in_one_loop, packed, unpacked
from ..safety.baseline import Baseline
from .columns import absent, largest
from .recorder import LAST_STEPS, SCALARS

SURGE = 10.0
AFTERWARDS = 20
LEVEL_STEPS = 10
LEAST_SEEN = 5
"""So many norms make a usual one."""


class Surges(NamedTuple):
    """`ratio` is the largest, at step `worst`. The last surges began at step `opened`, where the
    loss was at `before`. Of those after which it rose most, which began at step `rose`, it went
    from `low` to `high`. Steps are -1, and losses absent, as long as there is none.
    """

    ratio: Float[Array, ""]
    before: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    seen: Int[Array, ""]
    worst: Int[Array, ""]
    opened: Int[Array, ""]
    rose: Int[Array, ""]

    NUMBERS = 4
    STEPS = 4

    @staticmethod
    def of(numbers: Float[Array, "*n 4"], steps: Int[Array, "*n 4"]) -> "Surges":
        return Surges(*unpacked(numbers), *unpacked(steps))

    @property
    def numbers(self) -> Float[Array, " numbers"]:
        return jnp.stack(self[: Surges.NUMBERS])

    @property
    def steps(self) -> Int[Array, " steps"]:
        return jnp.stack(self[Surges.NUMBERS :])


def no_surges(dtype: Any) -> Surges:
    zero, unknown = jnp.zeros([], dtype), jnp.array(absent(dtype), dtype)
    none, never = jnp.int32(0), jnp.int32(-1)
    return Surges(zero, unknown, unknown, unknown, none, never, never, never)


def surge_ratio(
    norm: Float[Array, ""], baseline: Baseline, taken: Bool[Array, ""]
) -> Float[Array, ""]:
    """How many times the usual norm that of a step is, as far as a clip let it through.

    Args:
        norm: of its gradient.
        baseline: of the norms before.
        taken: whether it was a step at all.
    """
    usual = jnp.exp(baseline.mean.astype(norm.dtype))
    known = taken & (baseline.seen >= LEAST_SEEN) & jnp.isfinite(norm) & (usual > 0)
    return where(known, norm / where(known, usual, 1), 0)


def is_news(ratio: Float[Array, ""], opened: Int[Array, ""], step: Int[Array, ""]) -> Array:
    """Whether there is something to remember of a step."""
    return (ratio >= SURGE) | ((opened >= 0) & (step - opened == AFTERWARDS))


def add_surge(
    old: Surges, step: Int[Array, ""], ratio: Float[Array, ""], last: Float[Array, "last scalars"]
) -> Surges:
    """With one more step, of which there is news; `last` are the steps before."""
    none, most = absent(last.dtype), largest(last.dtype)
    ratio = jnp.minimum(ratio, most)
    old = Surges.of(number_once(old.numbers), old.steps)
    rows = jnp.arange(LAST_STEPS, dtype=step.dtype)
    age = (jax.lax.rem(step - 1, jnp.int32(LAST_STEPS)) - rows) % LAST_STEPS
    losses = last[:, SCALARS.index("value")]
    told = (age < jnp.minimum(step, LEVEL_STEPS)) & (losses > none) & (losses < most)
    columns = told.astype(last.dtype), where(told, losses, 0)
    many, total = in_one_loop(columns, [jax.lax.add] * 2)
    mean = total / jnp.maximum(many, 1)
    level = where(many > 0, mean, none)

    surge = ratio >= SURGE
    after = (old.opened >= 0) & (step - old.opened == AFTERWARDS)
    rise = where(old.low > none, old.high - old.low, 0)
    known = (old.before > none) & (level > none)
    rose = after & known & (level - old.before > rise)
    opens = surge & ((old.opened < 0) | (step - old.opened >= AFTERWARDS))
    larger = surge & (ratio > old.ratio)
    # In two lines, of which there is less to compile than of eight numbers.
    numbers = where(
        packed([larger, opens, rose, rose]),
        packed([ratio, level, old.before, level]),
        old.numbers,
    )
    steps = where(
        packed([surge, larger, opens, rose]),
        packed([counted(old.seen, surge), step, step, old.opened]),
        old.steps,
    )
    return Surges.of(numbers, steps)
