"""What every clip reports, under the same names."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..core.turn import Start, Turn
from ..math.norm import norm

S = TypeVar("S", bound=tuple)


class ClipState(NamedTuple):
    """`grad_norm` is the norm of all updates before the clip.

    `clip_ratio` is what they were multiplied by; of a clip that looks at leaves or units one by
    one, the smallest such number. `clipped` is 1 if it acted and 0 if not, or the fraction of the
    leaves, units or elements that it acted on.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return clip_metrics(self)


def own(state: Any, numbers: Iterable[Any], fresh: Callable[[], ClipState]) -> Any:
    """The state, or a fresh one in place of anything else where nothing in it is needed.

    It is needed where a schedule counts. So a clip can be called with an empty state, as optax's.
    """
    if isinstance(state, ClipState) or any(map(callable, numbers)):
        return state
    return fresh()


def clip_metrics(state) -> dict[str, Array]:
    return {name: getattr(state, name) for name in ("grad_norm", "clip_ratio", "clipped")}


def reported(state: S, now: Turn, **report: Array) -> S:
    """A renewed state, with a report that could only be made from it.

    `Turn.renew` would select once more for every array.
    """
    renewed = now.renew(**report)
    new = {name: getattr(renewed, name) for name in report}
    return type(state)(**{**state._asdict(), **new})  # type: ignore[attr-defined]


def together(
    norms: list[Array], ratios: list[Array], counts: list[Array], *, of: int
) -> dict[str, Array]:
    """The report of all leaves from that of each: norm, smallest ratio, number that was clipped.

    `of` is how many leaves, units or elements there are.
    """

    def stacked(numbers: list[Array]) -> Array:
        widest = jnp.result_type(*numbers)
        return jnp.stack([x.astype(widest) for x in numbers])

    return {
        "grad_norm": norm(stacked(norms)),
        "clip_ratio": jnp.min(stacked(ratios)),
        "clipped": jnp.sum(stacked(counts)) / max(of, 1),
    }


def nothing_clipped(start: Start) -> dict[str, Array]:
    """The report before the first update, in buffers of its own."""
    values = {"grad_norm": 0.0, "clip_ratio": 1.0, "clipped": 0.0}
    return {name: start.learnt(x) for name, x in values.items()}
