"""Make a part of the momentum orthogonal: the slices in which most of it has gathered.

    trace ← trace + G
    K = those ⌈fraction · n⌉ of n slices of trace whose Σ |trace| is largest
    u = O in K, 0 elsewhere                  O ≈ U Vᵀ, where trace[K] = U S Vᵀ
    trace[K] ← ef_decay trace[K]             what is not used stays: error feedback

Ahn, Amsel & Langford, 2025 (https://arxiv.org/abs/2512.16928). A slice is all of one output where
there are at most as many outputs as inputs, else all of one input.
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, Fraction
from ..core.rule import Clock, Rule, rule
from .orthogonalize import Orthogonalize
from .sgd import TraceSlots


def _orthogonalize(where: str, x: object) -> Orthogonalize:
    if not isinstance(x, Orthogonalize):
        raise TypeError(f"{where} must be a rules.Orthogonalize(), got {x!r}.")
    return x


@rule(acts_on="matrix", slots=TraceSlots)
class OrthogonalizeSlices(Rule):
    """The sum of gradients, of whose largest slices `polar` takes the orthogonal factor."""

    polar: Annotated[Orthogonalize, _orthogonalize] = Orthogonalize()
    fraction: Fraction = 0.25
    ef_decay: DecayRate = 0.95

    def init(self, param: Inexact[Array, "inputs outputs"]) -> TraceSlots:
        return TraceSlots(trace=jnp.zeros_like(param))

    def update(
        self, grad: Inexact[Array, "inputs outputs"], slots: TraceSlots, param, clock: Clock
    ):
        del param  # a direction asks only for gradients
        trace = slots.trace + grad
        inputs, outputs = grad.shape
        rows = trace.T if outputs <= inputs else trace
        count = min(len(rows), max(1, math.ceil(self.fraction * len(rows))))
        used = jax.lax.top_k(jnp.sum(jnp.abs(rows), 1), count)[1]
        factor, _ = self.polar.update(rows[used], (), None, clock)
        direction = jnp.zeros_like(rows).at[used].set(factor)
        kept = rows * jnp.ones((len(rows), 1), rows.dtype).at[used].set(self.ef_decay)
        direction, kept = (x.T if outputs <= inputs else x for x in (direction, kept))
        return direction, clock.renew(slots, trace=kept)
