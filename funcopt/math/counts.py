"""Counts that stay at the largest number of their type instead of beginning again below zero."""

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from .choice import where


def counted(count: Int[Array, "*n"], more: Shaped[Array, "..."]) -> Int[Array, "*n"]:
    """`count` with `more`: a number of events, or whether there was one."""
    most = jnp.iinfo(count.dtype).max
    more = more.astype(count.dtype)
    return where(count > most - more, most, count + more)


def following(count: Int[Array, "*n"]) -> Int[Array, "*n"]:
    """`count` + 1."""
    return jnp.minimum(count, jnp.iinfo(count.dtype).max - 1) + 1


def steps_ahead(count: Int[Array, "*n"], steps: int) -> Int[Array, "*n"]:
    """`count` after as many more steps."""
    for _ in range(steps):
        count = following(count)
    return count
