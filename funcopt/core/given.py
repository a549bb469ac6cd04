"""What people have at hand: a whole model, a loader of batches."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from optax import Params


def trained(model: Any) -> tuple[Params, Callable[[Params], Any]]:
    """The parameters in a model, and the function that puts others in their place.

    Where every leaf is a floating-point array or number, the model is its parameters. Otherwise,
    as in an Equinox module with its activation functions, they are its floating-point arrays;
    None stands where something else was.

    >>> params, whole = trained({"w": jnp.ones(2), "act": jnp.tanh, "layers": 3})
    >>> params
    {'act': None, 'layers': None, 'w': Array([1., 1.], dtype=float32)}
    >>> whole(params)["act"] is jnp.tanh
    True
    """
    if all(is_inexact(x) or isinstance(x, float | complex) for x in jax.tree.leaves(model)):
        return model, lambda params: params
    params = jax.tree.map(lambda x: x if is_inexact(x) else None, model)

    def whole(params: Params) -> Any:
        return jax.tree.map(
            lambda param, x: x if param is None else param,
            params,
            model,
            is_leaf=lambda x: x is None,
        )

    return params, whole


def keyed(loss: Callable[..., jax.Array]) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """`loss(params, batch, key)`, also of a loss that wants no key.

    >>> keyed(lambda params, batch: params * batch)(2, 3, jax.random.key(0))
    6
    """
    return loss if wants_key(loss) else lambda params, batch, key: loss(params, batch)


def wants_key(loss: Callable[..., Any]) -> bool:
    """Whether a loss is to be called with three arguments."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # what is not written in Python may have no signature
        return False
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    wanted = [each for each in parameters if each.kind in positional and each.default is each.empty]
    return len(wanted) == 3


def is_inexact(x: Any) -> bool:
    """Whether `x` is an array of real or complex floating-point numbers."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and hasattr(x, "shape") and jnp.issubdtype(dtype, jnp.inexact)


def is_stream(x: Any) -> bool:
    """Whether `x` gives batches one after the other: a generator, a loader; no tree of arrays."""
    if isinstance(x, str) or hasattr(x, "shape") or not isinstance(x, Iterable):
        return False
    return jax.tree_util.all_leaves([x])


def as_arrays(batch: Any) -> Any:
    """A batch of anything that NumPy reads, such as PyTorch's tensors."""
    return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else np.asarray(x), batch)


def one_batch(batch: Any) -> Any:
    """A batch as arrays; the first one of a loader."""
    if not is_stream(batch):
        return jax.tree.map(lambda x: np.asarray(x) if _is_foreign(x) else x, batch)
    for first in batch:
        return as_arrays(first)
    raise ValueError(
        "batch: the iterable gave no batch. A generator that was used before is empty: make a new "
        "one."
    )


def _is_foreign(x: Any) -> bool:
    """Whether `x` is an array of another library."""
    known = isinstance(x, jax.Array | np.ndarray | np.generic)
    return hasattr(x, "__array__") and not known
