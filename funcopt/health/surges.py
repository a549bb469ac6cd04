"""Single steps whose gradient dwarfs the usual one, and what the loss did after them.

    ratio = norm · clip_ratio / usual        usual: the running geometric mean of norms
    level ← 0.9 level + 0.1 loss
    ratio ≥ `SURGE`: a surge; the level before it is compared with that `AFTERWARDS` steps later

Where norms vary much, such a step is no outlier, and it throws a network all the same. What a clip
has shortened to about the usual length is none.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..wrappers.baseline import Baseline
from .recorder import plus
from .statistics import absent, largest

SURGE = 10.0
AFTERWARDS = 20
LEVEL_DECAY = 0.9
LEAST_SEEN = 5
"""So many norms make a usual one."""


class Surges(NamedTuple):
    """`ratio` is the largest, at step `worst`. The last surges began at step `opened`, where the
    loss was at `before`. Of those after which it rose most, which began at step `rose`, it went
    from `low` to `high`. Steps are -1, and losses absent, as long as there is none.
    """

    ratio: Float[Array, ""]
    level: Float[Array, ""]
    before: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    seen: Int[Array, ""]
    worst: Int[Array, ""]
    opened: Int[Array, ""]
    rose: Int[Array, ""]

    NUMBERS = 5
    STEPS = 4

    @staticmethod
    def of(numbers: Float[Array, "*n 5"], steps: Int[Array, "*n 4"]) -> "Surges":
        return Surges(
            *(numbers[..., i] for i in range(Surges.NUMBERS)),
            *(steps[..., i] for i in range(Surges.STEPS)),
        )

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self[: Surges.NUMBERS]

    @property
    def steps(self) -> tuple[Array, ...]:
        return self[Surges.NUMBERS :]


def no_surges(dtype: Any) -> Surges:
    zero, unknown = jnp.zeros([], dtype), jnp.array(absent(dtype), dtype)
    none, never = jnp.int32(0), jnp.int32(-1)
    return Surges(zero, unknown, unknown, unknown, unknown, none, never, never, never)


def add_surge(
    old: Surges,
    step: Int[Array, ""],
    norm: Float[Array, ""],
    baseline: Baseline,
    loss: Float[Array, ""],
    taken: Bool[Array, ""],
) -> Surges:
    """With one more step.

    Args:
        old: of the steps before.
        step: the number of this one.
        norm: of its gradient, as far as a clip let it through.
        baseline: of the norms before.
        loss: its loss, absent where it is not known.
        taken: whether it was a step at all.
    """
    none, most = absent(loss.dtype), largest(loss.dtype)
    usual = jnp.exp(baseline.mean.astype(norm.dtype))
    known = taken & (baseline.seen >= LEAST_SEEN) & jnp.isfinite(norm) & (usual > 0)
    ratio = jnp.where(known, norm / jnp.where(known, usual, 1), 0)
    ratio = jnp.minimum(ratio, most)
    surge = ratio >= SURGE

    told = (loss > none) & (loss < most)
    level = jnp.where(old.level > none, old.level + (1 - LEVEL_DECAY) * (loss - old.level), loss)
    level = jnp.where(told, level, old.level)

    after = (old.opened >= 0) & (step - old.opened == AFTERWARDS)
    rise = jnp.where(old.low > none, old.high - old.low, 0)
    rose = after & (old.before > none) & (level - old.before > rise)
    opens = surge & ((old.opened < 0) | (step - old.opened >= AFTERWARDS))
    larger = surge & (ratio > old.ratio)
    return Surges(
        ratio=jnp.where(larger, ratio, old.ratio),
        level=level,
        before=jnp.where(opens, old.level, old.before),
        low=jnp.where(rose, old.before, old.low),
        high=jnp.where(rose, level, old.high),
        seen=plus(old.seen, surge),
        worst=jnp.where(larger, step, old.worst),
        opened=jnp.where(opens, step, old.opened),
        rose=jnp.where(rose, old.opened, old.rose),
    )
