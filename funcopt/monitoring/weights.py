"""Weights that are kept in more bits than their parameters have, as a monitor sees them.

A parameter in half precision moves seldom, and then by much; the weight moves in every step.
"""

import jax.numpy as jnp
from jaxtyping import Array
from optax import OptState

from ..core.answers import Holds, answering
from ..core.step import apply_updates


def weights_of(state: OptState, params: list[Array]) -> list[Array]:
    """The weights that a state keeps of parameters, which they are where it keeps none."""
    for each in answering(state, Holds):
        params = each.weights(params)
    return params


def steps_of(
    weights: list[Array], params: list[Array], updates: list[Array], after: OptState
) -> list[Array]:
    """The steps of weights by which `updates` are made: those themselves, where they are the same.

    Args:
        weights: those before the step, of `params`.
        updates: what is added to the parameters.
        after: the state after the step.
    """
    if all(w.dtype == jnp.result_type(p) for w, p in zip(weights, params, strict=True)):
        return updates
    moved = [apply_updates(p, u) for p, u in zip(params, updates, strict=True)]
    rows = zip(weights, weights_of(after, moved), params, updates, strict=True)
    return [u if old.dtype == jnp.result_type(p) else new - old for old, new, p, u in rows]
