"""Single steps whose gradient dwarfs the usual one, and what the loss did after them.

    ratio = norm · clip_ratio / usual        usual: the running geometric mean of norms
    level = mean of the last 10 losses
    ratio ≥ `SURGE`: a surge; the level before it is compared with that `AFTERWARDS` steps later

Where norms vary much, such a step is no outlier, and it throws a network all the same. What a clip
has shortened to about the usual length is none.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Int

from ..math.counts import counted
from ..math.once import number_once
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
        return Surges(
            *(numbers[..., i] for i in range(Surges.NUMBERS)),
            *(steps[..., i] for i in range(Surges.STEPS)),
        )

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
    return jnp.minimum(jnp.where(known, norm / jnp.where(known, usual, 1), 0), largest(norm.dtype))


def is_news(ratio: Float[Array, ""], opened: Int[Array, ""], step: Int[Array, ""]) -> Array:
    """Whether there is something to remember of a step."""
    return (ratio >= SURGE) | ((opened >= 0) & (step - opened == AFTERWARDS))


def add_surge(
    old: Surges, step: Int[Array, ""], ratio: Float[Array, ""], last: Float[Array, "last scalars"]
) -> Surges:
    """With one more step, of which there is news; `last` are the steps before."""
    none, most = absent(last.dtype), largest(last.dtype)
    old = Surges.of(number_once(old.numbers), old.steps)
    back = step - 1 - jnp.arange(LEVEL_STEPS, dtype=step.dtype)
    losses = last[back % LAST_STEPS, SCALARS.index("value")]
    told = (losses > none) & (losses < most) & (back >= 0)
    # A product: a reduction is one more thing that every call pays for.
    rows = jnp.stack([told.astype(last.dtype), jnp.where(told, losses, 0)])
    many, total = jnp.matmul(rows, jnp.ones(LEVEL_STEPS, last.dtype), precision=Precision.HIGHEST)
    mean = total / jnp.maximum(many, 1)
    level = jnp.where(many > 0, mean, none)

    surge = ratio >= SURGE
    after = (old.opened >= 0) & (step - old.opened == AFTERWARDS)
    rise = jnp.where(old.low > none, old.high - old.low, 0)
    known = (old.before > none) & (level > none)
    rose = after & known & (level - old.before > rise)
    opens = surge & ((old.opened < 0) | (step - old.opened >= AFTERWARDS))
    larger = surge & (ratio > old.ratio)
    # In two lines, of which there is less to compile than of eight numbers.
    numbers = jnp.where(
        jnp.stack([larger, opens, rose, rose]),
        jnp.stack([ratio, level, old.before, level]),
        old.numbers,
    )
    steps = jnp.where(
        jnp.stack([surge, larger, opens, rose]),
        jnp.stack([counted(old.seen, surge), step, step, old.opened]),
        old.steps,
    )
    return Surges.of(numbers, steps)
