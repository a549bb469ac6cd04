"""AdaGrad: step each element by its gradient over the root of the sum of all its squares.

    sum_of_squares ← sum_of_squares + |g|²
    u = g / √(sum_of_squares + eps)        inside the root, as optax
    u = g / (√sum_of_squares + eps)        outside, as Duchi et al. and PyTorch

Duchi, Hazan & Singer, 2011, Figure 1, diagonal form (https://jmlr.org/papers/v12/duchi11a.html).
"""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Inexact

from ..core.arguments import Flag, NonNegative, NonNegativeConstant, Rate
from ..core.optimizer import lift, optimizer
from ..core.paper import Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, full_real
from ..storage import Storage


class SumSlots(NamedTuple):
    sum_of_squares: Accumulator


@rule(acts_on="element", slots=SumSlots)
class Adagrad(Rule):
    initial_accumulator_value: NonNegativeConstant = 0.1
    eps: NonNegative = 1e-7
    eps_in_sqrt: bool = True

    def init(self, param: Inexact[Array, "*p"]) -> SumSlots:
        return SumSlots(full_real(param, self.initial_accumulator_value))

    def update(self, grad: Inexact[Array, "*p"], slots: SumSlots, param, clock: Clock):
        del param  # AdaGrad looks only at gradients
        slots = clock.renew(slots, sum_of_squares=slots.sum_of_squares + abs_sq(grad))
        total = slots.sum_of_squares
        if self.eps_in_sqrt:
            return divide_by_root(grad, total, eps_root=self.eps), slots
        return divide_by_root(grad, total, self.eps), slots

    def divides_by(self) -> Divisor:
        outside, inside = (0.0, self.eps) if self.eps_in_sqrt else (self.eps, 0.0)
        return Divisor(sum_of_squares, None, outside, inside, forgets=False)


@runtime_checkable
class WithSumOfSquares(Protocol):
    """Slots with a sum of squares."""

    @property
    def sum_of_squares(self) -> Array: ...


def sum_of_squares(slots: WithSumOfSquares) -> Array:
    """The sum of the squares of all gradients."""
    return slots.sum_of_squares


ADAGRAD = Paper(
    "Duchi, John and Hazan, Elad and Singer, Yoram",
    "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    2011,
    "https://jmlr.org/papers/v12/duchi11a.html",
    journal="Journal of Machine Learning Research",
)


@transformation(paper=ADAGRAD)
def scale_by_rss(
    initial_accumulator_value: NonNegativeConstant = 0.1,
    eps: NonNegative = 1e-7,
    *,
    eps_in_sqrt: Flag = True,
    storage: Storage = None,
):
    """AdaGrad's direction, without the learning rate. Arguments as in `adagrad`.

    >>> import funcopt
    >>> funcopt.scale_by_rss(0.0)
    scale_by_rss(initial_accumulator_value=0.0)
    """
    return lift(Adagrad(initial_accumulator_value, eps, eps_in_sqrt), storage=storage)


@transformation(paper=ADAGRAD)
def adagrad(
    learning_rate: Rate,
    initial_accumulator_value: NonNegativeConstant = 0.1,
    eps: NonNegative = 1e-7,
    *,
    eps_in_sqrt: Flag = True,
    storage: Storage = None,
):
    """AdaGrad: divide the gradient by the root of the sum of its squares so far.

    Rare features get long steps, frequent ones short steps; steps only shrink.

    Args:
        learning_rate: at least 0, or a schedule.
        initial_accumulator_value: what the sums start from, at least 0. The default is optax's;
            the paper's and PyTorch's is 0.
        eps: keeps the division finite, at least 0.
        eps_in_sqrt: add eps inside the root (as optax) or outside (as the paper and PyTorch).
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-10, eps_in_sqrt=False)
    >>> tx.update(jnp.array([30.0]), tx.init(jnp.zeros(1)))[0]
    Array([-0.1], dtype=float32)

    Source: https://jmlr.org/papers/v12/duchi11a.html
    """
    rule_ = Adagrad(initial_accumulator_value, eps, eps_in_sqrt)
    return optimizer(rule_, learning_rate=learning_rate, storage=storage)
