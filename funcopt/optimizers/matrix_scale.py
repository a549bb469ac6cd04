"""How long a step is of a matrix whose singular values are equal, by its shape.

    keller       √max(1, outputs / inputs)       Jordan et al., 2024
    moonlight    0.2 √max(inputs, outputs)       Liu et al., 2025: steps about as long as AdamW's
    unit_rms     √(outputs / inputs)             unit RMS of outputs for unit RMS of inputs
    spectral     √max(inputs, outputs)           NVIDIA's

Jordan: https://kellerjordan.github.io/posts/muon/. Liu: https://arxiv.org/abs/2502.16982. The rate
that suits one width suits all with the third: Bernstein, 2025
(https://jeremybernste.in/writing/deriving-muon).
"""

import math
from typing import Annotated, Literal

from jaxtyping import Array, Inexact

from ..core.arguments import Choice
from ..core.rule import Clock, Rule, rule

ScalingName = Literal["keller", "moonlight", "unit_rms", "spectral"]
SCALINGS = ("keller", "moonlight", "unit_rms", "spectral")
Scaling = Annotated[ScalingName, Choice(SCALINGS)]


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
