"""Counts that stay at the largest number of their type instead of beginning again below zero."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int


def counted(count: Int[Array, ""], event: Bool[Array, ""]) -> Int[Array, ""]:
    """One more, if there was an `event`."""
    return jnp.where(event, jnp.asarray(optax.safe_increment(count)), count)
