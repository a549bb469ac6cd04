"""How much wider a parameter is than that of a base model, and what muP makes of it.

With r_in and r_out how much wider it is along its inputs and along its outputs, of which those are
counted that differ:

    differs along        rate of Adam    rate of SGD      initial values
    nothing              1               1                1
    its outputs          1               r_out            1             input weights, biases
    both                 1 / r_in        r_out / r_in     1             hidden weights
    its inputs           1 / r_in        1 / r_in         1 / √r_in     output weights
    its inputs           1               r_in             √r_in         where a model divides its
                                                                        outputs by r_in

The last line is Table 8 of Yang et al., 2022 (https://arxiv.org/abs/2203.03466), the one before it
Table 3, which means the same without a change of the model. Initial values are factors of those
whose variance is one over the number of inputs. Hidden weights under Muon, at its scale
√(outputs / inputs), have 1, and the rest is Adam's: Bernstein, 2025
(https://jeremybernste.in/writing/deriving-muon).
"""

import math
from dataclasses import dataclass
from typing import Literal

from ..core.leaf import Leaf

Kind = Literal["fixed", "input", "hidden", "output"]


@dataclass(frozen=True)
class Widths:
    """How one parameter grows: along its inputs, and along its outputs."""

    path: str
    inputs: float
    outputs: float

    @property
    def kind(self) -> Kind:
        if self.inputs == 1:
            return "fixed" if self.outputs == 1 else "input"
        return "output" if self.outputs == 1 else "hidden"

    def rate(self, rule: str, divides: bool) -> float:
        if self.kind == "output" and divides:
            return self.inputs if rule == "sgd" else 1.0
        if self.kind == "hidden" and rule == "muon":
            return 1.0
        return (self.outputs if rule == "sgd" else 1.0) / self.inputs

    def initial(self, divides: bool) -> float:
        root = math.sqrt(self.inputs)
        return 1.0 if self.kind != "output" else root if divides else 1 / root


def widths_of(leaf: Leaf, base: tuple[int, ...]) -> Widths:
    """Those of a parameter whose shape in the base model is `base`."""
    if len(base) != len(leaf.shape):
        raise ValueError(
            f"mup: {leaf.path!r} has the shape {leaf.shape}, and {base} in base_params; expected "
            "the same number of axes."
        )
    ratios = {
        axis: size / base[axis]
        for axis, size in enumerate(leaf.shape)
        if axis not in leaf.stacked and size != base[axis]
    }
    inputs, outputs = _axes(leaf)
    if not set(ratios) <= {*inputs, *outputs}:
        raise ValueError(
            f"mup: {leaf.path!r} of shape {leaf.shape} differs from the base's {base} along the "
            f"axes {tuple(ratios)}, and it is not known which of these are of inputs and which of "
            "outputs. Say so by matrices={pattern: (axes of the inputs, axes of the outputs)}, or "
            "by layer_axis= where they are layers."
        )
    grown = [math.prod(ratios.get(axis, 1.0) for axis in axes) for axes in (inputs, outputs)]
    return Widths(leaf.path, *grown)


def _axes(leaf: Leaf) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of inputs and outputs that may be widths."""
    if leaf.matrix is not None:
        return leaf.matrix
    rest = tuple(axis for axis in range(len(leaf.shape)) if axis not in leaf.stacked)
    return rest[-2:-1], rest[-1:]
