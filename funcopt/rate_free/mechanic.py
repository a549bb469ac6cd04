"""Mechanic: learns the factor by which any optimizer's steps are multiplied.

    Δ_t = Δ_{t-1} − base update                 where the base optimizer alone would have gone
    h = ⟨ g + λ (Σ s) ‖g‖ x/‖x‖ , Δ_{t-1} ⟩      what a larger factor would have won
    for each β of 0.9, 0.99, ...:
        r ← max(β r + clip(h, −m, m) s, 0)      the reward so far
        m ← max(β m, |h| + eps)                 the largest win
        v ← β² v + h²
        s ← ( (s_init / n) m + r ) / (√v + eps)
    x_{t+1} = x_0 − (Σ s) Δ_t

Cutkosky, Defazio & Mehta, 2023 (https://arxiv.org/abs/2306.00144), algorithm 1. The clip of
h by the largest win before it, which the authors added after the paper, and eps beside |h| are
from their program in optax.

Variant "pytorch" is their PyTorch program, mechanic-pytorch 0.0.1. It has neither, begins with
m = 1e-6, and in h has x + base update for x, against the paper.
"""

from numbers import Integral
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import (
    AxisName,
    NonNegative,
    Positive,
    Within,
    is_tracer,
)
from ..core.record import Static
from ..core.tree_rule import (
    ExactColumn,
    Number,
    OutermostAs,
    ReportedAs,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, minus
from ..math.safe import safe_sqrt


def _count(where: str, x: object) -> int:
    # optax.inject_hyperparams makes arrays of whole numbers too.
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.integer) and not is_tracer(x):
        x = x.item() if x.ndim == 0 else x
    if not isinstance(x, Integral) or isinstance(x, bool):
        raise TypeError(f"{where} must be an integer from 1 to 7, got {x!r}.")
    return Within(1, 7, schedule=False, integer=True)(where, x)


Count = Annotated[int, _count, Static]


VariantName = Literal["clipped", "pytorch"]


class MechanicSlots(NamedTuple):
    x0: ExactColumn
    delta: ExactColumn


class MechanicNumbers(NamedTuple):
    """`s`, `r`, `m`, `v` have one number for each β; `lr` is the learnt factor, their sum `s`."""

    lr: Annotated[Array, ReportedAs("scale"), OutermostAs("lr")]
    r: Number
    m: Number
    v: Number
    s: Number


@tree_rule(slots=MechanicSlots, numbers=MechanicNumbers)
class Mechanic(TreeRule):
    weight_decay: NonNegative
    eps: Positive
    s_init: Positive
    num_betas: Count
    variant: VariantName
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        none = jnp.zeros(self.num_betas, start.real)
        m = none if self.variant == "clipped" else none + 1e-6
        numbers = MechanicNumbers(start.number(0), none, m, none, none)
        return MechanicSlots(x, start.zeros(x)), numbers

    def update(self, g: Column, slots: MechanicSlots, was: MechanicNumbers, x: Column, step: Step):
        n, (u, inner) = self.num_betas, step.run()
        if was.s.shape != (n,):
            raise ValueError(
                f"mechanize: the state was made with num_betas={was.s.size}, each of which has "
                f"its own statistics, got num_betas={n}. Go on with num_betas={was.s.size}, or "
                "begin again with `tx.init(params)`."
            )
        betas = jnp.array([1 - 0.1**i for i in range(1, n + 1)], step.real)
        clipped = self.variant == "clipped"
        at = x if clipped else axpy(1, x, u)
        pull = self.weight_decay * jnp.sum(was.s) * step.norm(g) / (step.norm(at) + self.eps)
        h = step.vdot(axpy(pull, at, g), slots.delta)
        won = jnp.clip(h, -was.m, was.m) if clipped else h
        r = jnp.maximum(betas * was.r + won * was.s, 0)
        m = jnp.maximum(betas * was.m, jnp.abs(h) + (self.eps if clipped else 0))
        v = betas**2 * was.v + h**2
        s = (r + self.s_init / n * m) / (safe_sqrt(v) + self.eps)
        total = jnp.sum(s)
        slots = step.renew(slots, delta=minus(slots.delta, u))
        # x_0 − x first: what is near each other loses no digits.
        steps = axpy(-total, slots.delta, minus(slots.x0, x))
        return steps, slots, MechanicNumbers(total, r, m, v, s), inner
