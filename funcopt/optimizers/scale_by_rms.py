"""RMSprop: step each element by its gradient over its root-mean-square gradient.

    nu ← decay nu + (1 − decay) |g|²
    u = g / √(nu + eps)                    inside the root, as optax and TensorFlow
    u = g / (√nu + eps)                    outside, as PyTorch

Tieleman & Hinton, 2012, lecture 6e of "Neural Networks for Machine Learning"
(https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf). Centered, it is
`scale_by_stddev`.
"""

from typing import NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ..core.arguments import (
    DecayRate,
    Flag,
    NonNegative,
    NonNegativeConstant,
)
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, full_real
from ..storage import Storage
from .moment_slots import mean_square


class SquareSlots(NamedTuple):
    nu: Accumulator


@rule(acts_on="element", slots=SquareSlots, decay_of={"nu": "decay"})
class Rms(Rule):
    decay: DecayRate = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegativeConstant = 0.0
    eps_in_sqrt: bool = True
    bias_correction: bool = False

    corrects = ("decay",)

    def init(self, param: Inexact[Array, "*p"]) -> SquareSlots:
        return SquareSlots(nu=full_real(param, self.initial_scale))

    def update(self, grad: Inexact[Array, "*p"], slots: SquareSlots, param, clock: Clock):
        del param  # RMSprop looks only at gradients
        slots = clock.renew(slots, nu=ema(slots.nu, abs_sq(grad), self.decay))
        nu = clock.unbiased(slots.nu, self.decay) if self.bias_correction else slots.nu
        return divide_by_root(grad, nu, *eps_and_root(self.eps, self.eps_in_sqrt)), slots

    def divides_by(self) -> Divisor:
        eps = eps_and_root(self.eps, self.eps_in_sqrt)
        return Divisor(mean_square, self.decay, *eps, corrected=self.bias_correction)


def eps_and_root(eps: ArrayLike, in_sqrt: bool) -> tuple[ArrayLike, ArrayLike]:
    """What is added to the root, and inside of it."""
    return (0.0, eps) if in_sqrt else (eps, 0.0)


RMSPROP = Paper(
    "Tieleman, Tijmen and Hinton, Geoffrey",
    "Lecture 6.5: RMSProp, divide the gradient by a running average of its recent magnitude",
    2012,
    "https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf",
    howpublished="COURSERA: Neural Networks for Machine Learning",
)


@transformation(paper=RMSPROP)
def scale_by_rms(
    decay: DecayRate = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegativeConstant = 0.0,
    eps_in_sqrt: Flag = True,
    bias_correction: Flag = False,
    *,
    storage: Storage = None,
):
    """RMSprop's direction, without the learning rate. Arguments as in `rmsprop`.

    >>> import funcopt
    >>> funcopt.scale_by_rms(0.99)
    scale_by_rms(decay=0.99)
    """
    rule_ = Rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    return lift(rule_, storage=storage)
