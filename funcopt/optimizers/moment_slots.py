"""The slots that the relatives of Adam share, and how a gradient enters them."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ..core.rule import Accumulator, Clock, Signed
from ..math.moments import abs_sq, ema, zeros_real


class Moments(NamedTuple):
    """A mean gradient and a mean square."""

    mu: Signed
    nu: Accumulator


@runtime_checkable
class WithMeanSquare(Protocol):
    """Slots with a mean square."""

    @property
    def nu(self) -> Array: ...


def with_gradient(
    slots: Moments,
    grad: Inexact[Array, "*p"],
    b1: ArrayLike,
    b2: ArrayLike,
    bias_correction: bool,
    clock: Clock,
) -> tuple[Moments, Moments]:
    """The slots after a gradient, and their means, corrected where `bias_correction` says so.

    mu ← b1 mu + (1 − b1) g,  nu ← b2 nu + (1 − b2) |g|²
    mu / (1 − b1ᵗ),  nu / (1 − b2ᵗ)
    """
    slots = clock.renew(slots, mu=ema(slots.mu, grad, b1), nu=ema(slots.nu, abs_sq(grad), b2))
    if not bias_correction:
        return slots, slots
    return slots, Moments(clock.unbiased(slots.mu, b1), clock.unbiased(slots.nu, b2))


def mean_square(slots: WithMeanSquare) -> Array:
    """The mean square of gradients, where it is called `nu`."""
    return slots.nu


def mean_of_block(slots: Moments) -> Array:
    """nu for each element, where it is one number for a block, and these are along first axes."""
    mu, nu = slots
    if mu.shape[: nu.ndim] != nu.shape:
        return nu
    return jnp.broadcast_to(nu.reshape(nu.shape + (1,) * (mu.ndim - nu.ndim)), mu.shape)


def zero_moments(param: Inexact[Array, "*p"]) -> Moments:
    return Moments(mu=jnp.zeros_like(param), nu=zeros_real(param))
