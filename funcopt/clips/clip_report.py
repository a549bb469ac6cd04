"""What every clip reports, under the same names."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ..core.report import Counted, Mean, Norm, Smallest
from ..math.norm import clip_ratio


class ClipReport(NamedTuple):
    """`grad_norm` is the norm of all updates before the clip.

    `clip_ratio` is what they were multiplied by; of a clip that looks at leaves or units one by
    one, the smallest such number. `clipped` is 1 if it acted and 0 if not, or the fraction of the
    leaves, units or elements that it acted on.
    """

    grad_norm: Norm = 0.0
    clip_ratio: Smallest = 1.0
    clipped: Mean = 0.0


def clipped_units(
    grad: Inexact[Array, "*p"], norms: Float[Array, "*n"], bound: ArrayLike
) -> tuple[Inexact[Array, "*p"], ClipReport]:
    """A gradient whose units have these `norms`, each cut to its bound, and the report."""
    ratio = clip_ratio(norms, bound)
    count = jnp.sum(ratio < 1, dtype=ratio.dtype)
    units = ratio.size if grad.size else 0
    return grad * ratio, ClipReport(norms, jnp.min(ratio, initial=1), Counted(count, units))
