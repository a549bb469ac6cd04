"""The parameters to evaluate with, where they are not those that are trained."""

from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import optax

from ..core.places import on_device
from ..core.tree_lift import TreeState

Tree = TypeVar("Tree")


def eval_params(tx: optax.GradientTransformation, state: Any, params: Tree) -> Tree:
    """The parameters to evaluate, validate and serve with.

    Schedule-free methods and DoG train one sequence and answer with an average of it. This finds
    the average in the state, however deep it lies in chains and wrappers; where none is kept it
    returns the parameters themselves.

    Args:
        tx: the transformation.
        state: its state after any number of updates.
        params: the parameters that belong to this state; a whole Equinox model, too.

    Returns:
        A tree like `params`, in the same dtypes; what is no parameter stays. The training continues
        from `params`, not from this.

    Raises:
        TypeError: the arguments are in another order.
        ValueError: these are other parameters than those that the state was made for.

    >>> import funcopt
    >>> tx = funcopt.adam(1e-3)
    >>> funcopt.eval_params(tx, tx.init({"w": 1.0}), {"w": 1.0})
    {'w': 1.0}
    """
    if not (hasattr(tx, "init") and hasattr(tx, "update")) or any(_states(params)):
        raise TypeError(
            "eval_params: the order of arguments is `eval_params(tx, state, params)`, got a "
            f"{type(tx).__name__}, a {type(state).__name__} and a {type(params).__name__}."
        )
    for node in _averages(state):
        slots, numbers = on_device((node.slots, node.numbers))
        params = slots.eval_params(params, numbers)
    return params


def _states(node: Any) -> Iterator[bool]:
    """Whether each named tuple in a tree is the state of a transformation, not of parameters."""
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        module = type(node).__module__.partition(".")[0]
        yield module in ("funcopt", "optax") and not isinstance(node, optax.MaskedNode)
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _states(child)


def _averages(node: Any) -> Iterator[TreeState]:
    """The outermost states that keep an average. What is inside of one has no say."""
    if isinstance(node, TreeState) and hasattr(node.slots, "eval_params"):
        yield node
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _averages(child)
