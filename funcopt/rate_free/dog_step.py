"""DoG: the rate is the distance gone over the gradients met.

    r_t = max(r_{t-1}, ‖x_t − x_0‖)
    G_t = G_{t-1} + ‖g_t‖²
    η_t = r_t / √(G_t + eps)
    x_{t+1} = x_t − learning_rate η_t g_t

    x̄_t = (1 − w_t) x̄_{t-1} + w_t x_t,  w_t = (1 + γ) / (t + γ)       the average to evaluate

Ivgi, Hinder & Carmon, 2023 (https://arxiv.org/abs/2302.12022), eq. 2 and section 4; the average is
that of Shamir & Zhang, 2013 (https://arxiv.org/abs/1212.1824).
"""

import math
from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp

from ..core.arguments import AxisName, NonNegative, OptionalNonNegative, Positive, Within
from ..core.paths import Mask
from ..core.tree_rule import (
    ExactColumn,
    Number,
    Reported,
    ReportedAs,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, held, minus, scaled
from ..math.safe import safe_divide

StepKind = Literal["distance", "learning_rate", "heuristic"]
STEP_KINDS = get_args(StepKind)


def _init_step(where: str, x: object) -> tuple[StepKind, Positive]:
    if not isinstance(x, tuple | list) or len(x) != 2 or x[0] not in STEP_KINDS:
        raise ValueError(
            f"{where} must be a pair (kind, number) with a kind among {', '.join(STEP_KINDS)}, "
            f"got {x!r}."
        )
    return x[0], Within(0, math.inf, "()", schedule=False)(f"{where}[1]", x[1])


InitStep = Annotated[tuple[StepKind, Positive], _init_step]


class DogSlots(NamedTuple):
    init_params: ExactColumn


class DogNumbers(NamedTuple):
    """`lr` is the rate in force, `max_dist` the largest distance from the start so far."""

    lr: Reported
    max_dist: Annotated[Number, ReportedAs("distance")]
    sum_sq_norm_grads: Number


@tree_rule(slots=DogSlots, numbers=DogNumbers)
class Dog(TreeRule):
    learning_rate: NonNegative
    init_kind: StepKind
    init_size: Positive
    eps: NonNegative
    weight_decay: OptionalNonNegative
    mask: Mask
    axis_name: AxisName

    decays_by = "l2"

    def init(self, x: Column, start: Start):
        r = 0 if self.init_kind == "learning_rate" else self.init_size
        if self.init_kind == "heuristic":
            r = r * (1 + start.norm(x))
        return DogSlots(x), DogNumbers(*map(start.number, (0, r, 0)))

    def update(self, g: Column, slots: DogSlots, was: DogNumbers, x: Column, step: Step):
        g = axpy(1, g, step.decay(self.weight_decay, self.mask))
        r = jnp.maximum(was.max_dist, step.norm(minus(x, slots.init_params)))
        G = was.sum_sq_norm_grads + step.square_norm(g)
        eta = safe_divide(r, jnp.sqrt(G + self.eps))
        if self.init_kind == "learning_rate":
            eta = jnp.where(r > 0, eta, self.init_size)
        lr = self.learning_rate * eta
        return scaled(-lr, g), slots, DogNumbers(lr, r, held(G))
