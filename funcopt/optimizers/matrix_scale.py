"""How long a step is of a matrix whose singular values are equal, by its shape.

    keller       √max(1, outputs / inputs)       Jordan et al., 2024
    moonlight    0.2 √max(inputs, outputs)       Liu et al., 2025: steps about as long as AdamW's
    unit_rms     √(outputs / inputs)             unit RMS of outputs for unit RMS of inputs
    spectral     √max(inputs, outputs)           NVIDIA's
    InverseSides 2 / (inputs + outputs)          SPlus: Frans et al., 2025, of signs in a basis

Jordan: https://kellerjordan.github.io/posts/muon/. Liu: https://arxiv.org/abs/2502.16982. The rate
that suits one width suits all with the third: Bernstein, 2025
(https://jeremybernste.in/writing/deriving-muon).
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Array, Inexact

from ..core.arguments import Choice, Length, NonNegative
from ..core.rule import Clock, Rule, rule

ScalingName = Literal["keller", "moonlight", "unit_rms", "spectral"]
SCALINGS = ("keller", "moonlight", "unit_rms", "spectral")
Scaling = Annotated[ScalingName, Choice(SCALINGS)]
ADJUST: Mapping[str, ScalingName] = {"original": "keller", "match_rms_adamw": "moonlight"}


def _adjust(where: str, x: object) -> object:
    if x is not None and (not isinstance(x, str) or x not in ADJUST):
        raise ValueError(f"{where} must be one of {', '.join(ADJUST)} or None, got {x!r}.")
    return x


Adjust = Annotated[Literal["original", "match_rms_adamw"] | None, _adjust]
"""What PyTorch calls two of them."""


def as_adjusted(scaling: ScalingName, adjust: str | None) -> ScalingName:
    """The scaling that is told by either name."""
    if adjust is None:
        return scaling
    if scaling not in ("keller", ADJUST[adjust]):
        raise ValueError(
            f"muon: adjust={adjust!r} is PyTorch's name of scaling={ADJUST[adjust]!r}, but scaling "
            f"is {scaling!r}. Give one of them."
        )
    return ADJUST[adjust]


def matrix_scale(inputs: int, outputs: int, scaling: str) -> float:
    """What the orthogonal factor of a matrix of this shape is multiplied by."""
    if scaling == "keller":
        return math.sqrt(max(1, outputs / max(inputs, 1)))
    if scaling == "unit_rms":
        return math.sqrt(outputs / max(inputs, 1))
    return (0.2 if scaling == "moonlight" else 1.0) * math.sqrt(max(inputs, outputs))


@rule(acts_on="matrix")
class MatrixScale(Rule):
    """Multiply a matrix by a number that follows from its shape."""

    scaling: ScalingName = "keller"

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param, clock  # the shape is all that is asked
        return self.multiplies_by(grad.shape) * grad, slots

    def multiplies_by(self, shape: tuple[int, ...]) -> float:
        inputs, outputs = shape
        return matrix_scale(inputs, outputs, self.scaling)


@rule(acts_on="matrix")
class InverseSides(Rule):
    """Divide by half of m + n, or multiply by `elsewhere` where a side is longer than the longest
    that has a basis.
    """

    longest: Length = 10000
    elsewhere: NonNegative = 0.001

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param, clock  # the shape is all that is asked
        sides = max(1, sum(grad.shape))
        factor = 2 / sides if max(grad.shape) <= self.longest else self.elsewhere
        return factor * grad, slots
