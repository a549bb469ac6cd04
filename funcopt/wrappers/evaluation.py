"""The parameters to evaluate with, where they are not those that are trained."""

from typing import Any

import jax
import optax
from optax import OptState, Params


def eval_params(tx: optax.GradientTransformation, state: OptState, params: Params) -> Params:
    """The parameters to evaluate, validate and serve with.

    Schedule-free methods and DoG train one sequence and answer with an average of it. This finds
    the average in the state, however deep it lies in chains and wrappers; where none is kept it
    returns the parameters themselves.

    Args:
        tx: the transformation.
        state: its state after any number of updates.
        params: the parameters that belong to this state.

    Returns:
        A tree like `params`, in the same dtypes. The training continues from `params`, not from
        this.

    >>> import funcopt
    >>> tx = funcopt.adam(1e-3)
    >>> funcopt.eval_params(tx, tx.init({"w": 1.0}), {"w": 1.0})
    {'w': 1.0}
    """
    del tx  # states know themselves what they average
    for node in _averages(state):
        params = node.eval_params(params)
    return params


def _averages(node: Any):
    """The outermost states that keep an average. What is inside of one has no say."""
    if hasattr(node, "_fields") and hasattr(node, "eval_params"):
        yield node
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _averages(child)
