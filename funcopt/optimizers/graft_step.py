"""The step of a simpler method, whose length that of another one is given: its graft.

    adam       nu ← b2 nu + (1 − b2) |G|²,  A = M / (√(nu / (1 − b2ᵗ)) + eps)
    rmsprop    the same without the correction of the bias
    adagrad    nu ← nu + |G|²,  A = M / (√nu + eps)
    sgd        A = M
    none       no step: the other one keeps its length

where M is the mean gradient of the other method. Agarwal et al., 2020
(https://arxiv.org/abs/2002.11803).
"""

from typing import Annotated, Literal

from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ..core.arguments import Choice
from ..core.rule import Clock
from ..math.moments import abs_sq, divide_by_root, ema

GraftName = Literal["adam", "rmsprop", "adagrad", "sgd", "none"]
Graft = Annotated[GraftName, Choice(("adam", "rmsprop", "adagrad", "sgd", "none"))]
"""The method whose length a step is given."""
Matrix = Inexact[Array, "m n"]
Squares = Float[Array, "m n"]


def has_squares(graft: GraftName) -> bool:
    """Whether the method divides by the root of a second moment."""
    return graft not in ("sgd", "none")


def graft_squares(graft: GraftName, nu: Squares, grad: Matrix, b2: ArrayLike) -> Squares:
    """Its second moment after a gradient."""
    return nu + abs_sq(grad) if graft == "adagrad" else ema(nu, abs_sq(grad), b2)


def graft_step(
    graft: GraftName,
    mu: Matrix,
    nu: Squares | None,
    b2: ArrayLike,
    eps: ArrayLike,
    clock: Clock,
) -> Matrix:
    """The step, with the mean gradient of the other method."""
    if nu is None:
        return mu
    return divide_by_root(mu, clock.unbiased(nu, b2) if graft == "adam" else nu, eps)
