"""Make all singular values of a matrix equal, as Muon does with its momentum.

    O ≈ U Vᵀ, where M = U S Vᵀ              by `ns_steps` of Newton and Schulz
    u = O, or ⟨O, M⟩ O                      ⟨O, M⟩ ≈ Σ S, the nuclear norm of M

What an iteration makes of a singular value is its numbers' doing, which are told by name: those of
Jordan et al. lead any to between 0.7 and 1.2 in 5 steps, others nearer to 1.
"""

from collections.abc import Sequence
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DType, NonNegative, Steps
from ..core.record import Static
from ..core.rule import Clock, Rule, rule
from ..math.moments import times
from ..math.newton_schulz import newton_schulz
from .ns_coefficients import COEFFICIENTS, KELLER, Coefficients, NamedCoefficients


def orthogonalize(
    ns_coeffs: NamedCoefficients,
    ns_steps: Steps,
    eps: NonNegative,
    ns_dtype: DType,
    nuclear_norm: bool = False,
) -> "Orthogonalize":
    """The rule, of numbers that may be told by their name."""
    numbers = COEFFICIENTS[ns_coeffs] if isinstance(ns_coeffs, str) else ns_coeffs
    return Orthogonalize(numbers, ns_steps, eps, ns_dtype, nuclear_norm)


@rule(acts_on="matrix")
class Orthogonalize(Rule):
    """The orthogonal factor of a matrix; with `nuclear_norm`, times the sum of singular values."""

    ns_coeffs: Coefficients = KELLER
    ns_steps: Steps = 5
    eps: NonNegative = 1e-7
    ns_dtype: Annotated[DType, Static] = None
    nuclear_norm: bool = False

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param, clock  # a direction asks only for what it is the direction of
        factor = newton_schulz(grad, self.triples(), self.eps, self.ns_dtype)
        if self.nuclear_norm:
            factor = times(jnp.sum((factor.conj() * grad).real), factor)
        return factor, slots

    def triples(self) -> Sequence:
        """(a, b, c) of each step."""
        told = self.ns_coeffs
        if not isinstance(told[0], tuple | list):
            return [told] * int(self.ns_steps)
        if len(told) != self.ns_steps:
            raise ValueError(
                f"ns_coeffs has three numbers for each of {len(told)} steps, and ns_steps is "
                f"{self.ns_steps}."
            )
        return told
