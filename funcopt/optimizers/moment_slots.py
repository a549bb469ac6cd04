"""The slots that the relatives of Adam share."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.rule import Accumulator, Signed
from ..math.moments import zeros_real


class Moments(NamedTuple):
    """A mean gradient and a mean square."""

    mu: Signed
    nu: Accumulator


@runtime_checkable
class WithMeanSquare(Protocol):
    """Slots with a mean square."""

    @property
    def nu(self) -> Array: ...


def mean_square(slots: WithMeanSquare) -> Array:
    """The mean square of gradients, where it is called `nu`."""
    return slots.nu


def zero_moments(param: Inexact[Array, "*p"]) -> Moments:
    return Moments(mu=jnp.zeros_like(param), nu=zeros_real(param))
