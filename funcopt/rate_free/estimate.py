"""What optimizers that estimate the distance to the solution share."""

import math
from dataclasses import replace
from typing import Annotated

import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from ..core.arguments import Hyperparameter, Numeric, Within
from ..core.paper import ICML, Paper
from ..core.rule import Rule
from ..math.columns import Column, minus
from ..math.moments import bias_correction
from ..storage import Storage, StorageLike, checked_storage, mentions
from ..transforms.decay_kinds import CorrectedDecay, L2Decay
from ..transforms.decay_rules import DECAYS, DecayAmong

D_ADAPTATION = Paper(
    "Defazio, Aaron and Mishchenko, Konstantin",
    "Learning-Rate-Free Learning by D-Adaptation",
    2023,
    "https://arxiv.org/abs/2301.07733",
    booktitle=ICML,
)


def checked_betas(where: str, x: object) -> tuple[Numeric, Numeric]:
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"{where} must be a pair of decay rates, got {x!r}.")
    check = Within(0, 1, "[)", schedule=False)
    return check(f"{where}[0]", x[0]), check(f"{where}[1]", x[1])


def wide_storage(where: str, x: object) -> Storage:
    storage = checked_storage(where, x)
    if mentions(storage, "float16"):
        raise ValueError(
            f"{where} cannot be float16: slots hold gradients times the estimate of the distance, "
            "which begins with 1e-6, below what float16 reaches down to. Take bfloat16."
        )
    return storage


RATED = DecayAmong(
    tuple(each for each in DECAYS if each is not CorrectedDecay),
    "the rate is found in training, so that the largest is not known before; "
    "decays.squared asks for none",
)
SUMMED = DecayAmong(
    (L2Decay,),
    "parameters are where the gradients since the start have led to, so that the next step puts "
    "back what a decay takes",
)
Betas = Annotated[tuple[Numeric, Numeric], checked_betas]
FoundRateDecay = Annotated[Hyperparameter | Rule, RATED]
"""A decay beside a rate that is found in training."""
OptionalFoundRateDecay = Annotated[Hyperparameter | Rule | None, replace(RATED, optional=True)]
SummedDecay = Annotated[Hyperparameter | Rule, SUMMED]
"""A decay of parameters that are a function of all gradients since the start."""
GrowthRate = Annotated[Numeric, Within(1, math.inf, schedule=False)]
WideStorage = Annotated[StorageLike, wide_storage]


def adam_correction(b1: ArrayLike, b2: ArrayLike, t: Array, real: DTypeLike) -> Float[Array, ""]:
    """What Adam's rate is multiplied by when its means are not corrected themselves."""
    return jnp.sqrt(bias_correction(b2, t, real)) / bias_correction(b1, t, real)


def grown(d: Array, growth_rate: ArrayLike) -> Float[Array, ""]:
    """The most that d may be after this step; finite, so that it has a derivative."""
    return d * jnp.minimum(growth_rate, 1e18)


def raised(d: Array, d_hat: Array, growth_rate: ArrayLike) -> Float[Array, ""]:
    """d, raised to its new estimate as far as `growth_rate` allows."""
    return jnp.maximum(d, jnp.minimum(d_hat, grown(d, growth_rate)))


def towards(x: Column, x0: Column, s: Column, momentum: Array | float) -> Column:
    """The step from x to momentum x + (1 − momentum) (x_0 − s).

    Of x_0 − x, both near each other, little is rounded away.
    """
    return [jnp.multiply(1 - momentum, each) for each in minus(minus(x0, x), s)]
