"""FTRL-Proximal: follow the leader of all gradients so far, kept sparse by an L1 penalty.

    n' = n + |g|²,   σ = (√n' − √n) / α        α: the learning rate
    z ← z + g − σ x,   n ← n'
    x ← 0                                              where |z| ≤ l1
    x ← −(z − l1 sign z) / ((beta + √n) / α + l2)      elsewhere

McMahan et al., 2013, Algorithm 1 (https://doi.org/10.1145/2487575.2488200). Keras's `Ftrl` divides
by (beta + √n) / α + 2 l2: its L2 penalty counts twice. At a rate of 0 nothing is added up here.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import NonNegative, NonNegativeConstant, Rate
from ..core.optimizer import subtracted
from ..core.paper import Paper
from ..core.rule import Clock, Divisor, Exact, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, full_real, times
from ..math.safe import safe_divide, safe_sqrt
from ..storage import Storage


class FtrlSlots(NamedTuple):
    """The sum of squares, and that of gradients less what parameters have taken of it."""

    n: Exact
    z: Exact


@rule(acts_on="element", slots=FtrlSlots, needs_params=True)
class Ftrl(Rule):
    beta: NonNegative = 1.0
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    initial_accumulator_value: NonNegativeConstant = 0.0

    def init(self, param: Inexact[Array, "*p"]) -> FtrlSlots:
        n = full_real(param, self.initial_accumulator_value)
        return FtrlSlots(n=n, z=jnp.zeros_like(param))

    def update(
        self,
        grad: Inexact[Array, "*p"],
        slots: FtrlSlots,
        param: Inexact[Array, "*p"],
        clock: Clock,
    ):
        assert clock.lr is not None
        moves = clock.lr > 0
        inverse = safe_divide(1.0, clock.lr)
        square = jnp.where(moves, abs_sq(grad), 0)
        n = slots.n + square
        # √n' − √n without the cancellation.
        sigma = times(inverse, safe_divide(square, safe_sqrt(n) + safe_sqrt(slots.n)))
        z = slots.z + jnp.where(moves, grad, 0) - sigma * param
        slots = clock.renew(slots, n=n, z=z)
        curvature = times(inverse, self.beta + safe_sqrt(slots.n)) + self.l2
        beyond = jnp.maximum(jnp.abs(slots.z) - self.l1, 0)
        new = -jnp.sign(slots.z) * safe_divide(beyond, curvature)
        return jnp.where(moves, param - new, 0), slots

    def divides_by(self) -> Divisor:
        return Divisor(lambda slots: slots.n, None, self.beta, forgets=False)


FTRL = Paper(
    "McMahan, H. Brendan and Holt, Gary and Sculley, D. and Young, Michael and Ebner, Dietmar and "
    "Grady, Julian and Nie, Lan and Phillips, Todd and Davydov, Eugene and Golovin, Daniel and "
    "Chikkerur, Sharat and Liu, Dan and Wattenberg, Martin and Hrafnkelsson, Arnar Mar and Boulos, "
    "Tom and Kubica, Jeremy",
    "Ad Click Prediction: a View from the Trenches",
    2013,
    "https://doi.org/10.1145/2487575.2488200",
    booktitle="ACM SIGKDD International Conference on Knowledge Discovery and Data Mining",
)


@transformation(paper=FTRL)
def ftrl(
    learning_rate: Rate,
    beta: NonNegative = 1.0,
    l1: NonNegative = 0.0,
    l2: NonNegative = 0.0,
    *,
    initial_accumulator_value: NonNegativeConstant = 0.0,
    storage: Storage = None,
):
    """FTRL-Proximal: AdaGrad's rates with an L1 penalty whose zeros are exact, for sparse models.

    For linear models and wide embeddings, each of whose features few examples have. Begin with
    parameters of 0, as the paper does: a parameter of which no gradient came yet is set to 0.

    Args:
        learning_rate: the paper's α, at least 0; or a schedule. Steps shrink by themselves.
        beta: added to the root of the sum of squares, at least 0: it shortens the first steps.
        l1: the weight of the L1 penalty of the whole training, at least 0: parameters whose
            gradients do not add up to more stay exactly 0.
        l2: that of half the squared parameters, at least 0; Keras's penalty is twice as large.
        initial_accumulator_value: what the sum of squares begins with, at least 0; 0.1 in Keras.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.ftrl(0.5, l1=0.1), jnp.zeros(2)
    >>> params, state = funcopt.step(tx, jnp.array([1.0, 0.01]), tx.init(params), params)
    >>> params
    Array([-0.225,  0.   ], dtype=float32)

    Source: https://doi.org/10.1145/2487575.2488200, Algorithm 1.
    """
    rule_ = Ftrl(beta, l1, l2, initial_accumulator_value)
    return subtracted(rule_, learning_rate=learning_rate, layer_axis=None, storage=storage)
