"""A step of one leaf in chunks of its rows, so that what is computed between is small.

    for each chunk of rows
        (update, slots)[rows] ← rule (gradient, slots, parameter)[rows]

Each array is written over what it was made of, the update over the gradient where both are float32:
where those are donated, or made in the same program, no other array of the size of the leaf is
there at any time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..math.dtypes import is_half
from ..storage.kept import Coded
from .leaves import Absent, is_kept

Evaluate = Callable[..., tuple[Array, Sequence[Any]]]


def rows_of_chunks(chunk: int, grad: Array, slots: Sequence[Any], param: Array | None) -> int:
    """How many rows a chunk of `chunk` elements has; 0 where the leaf is to be done as a whole.

    It is without codes, because then XLA needs nothing between. What is kept must be so row by row;
    codes are in blocks along the last axis.
    """
    if grad.ndim < 2 or grad.size <= chunk or not any(isinstance(x, Coded) for x in slots):
        return 0
    kept = [x for x in slots if not isinstance(x, Absent)]
    arrays = jax.tree.leaves((grad, kept, param))
    if any(x.shape != grad.shape for x in kept) or any(
        x.shape[:1] != grad.shape[:1] for x in arrays
    ):
        return 0
    most = max(1, chunk // math.prod(grad.shape[1:]))
    rows = grad.shape[0]
    least = -(-rows // most)
    # Chunks that leave no rest need no program for it, unless they are less than half as large.
    even = next((n for n in range(least, 2 * least + 1) if rows % n == 0), 0)
    return rows // even if even else most


def in_chunks(
    rows: int,
    evaluate: Evaluate,
    there: Bool[Array, ""],
    grad: Array,
    slots: Sequence[Any],
    param: Array | None,
) -> tuple[Array, list[Any]]:
    """The update of a leaf and its slots, a chunk of `rows` rows after the other.

    Args:
        evaluate: maps gradient, slots and parameter of some rows, and the index of their first
            element, to the update and the slots.
        there: true, but not known to be before the program runs.
    """
    count, left = divmod(grad.shape[0], rows)
    shown = jax.eval_shape(lambda: _rows((grad, [*slots], param), 0, rows))
    update, kept = jax.eval_shape(evaluate, *shown, jnp.uint32(0))
    over = update.dtype == grad.dtype
    first = grad if over else jnp.zeros_like(grad, update.dtype)
    given = zip(_leaves([*slots]), _leaves(kept), strict=True)
    begun = [first, *(x.astype(new.dtype) for x, new in given)]
    types = [x.dtype for x in begun]
    read = [] if over else [grad]
    read += [] if param is None else [param]
    bits = list(map(_as_bits, read))
    stride = math.prod(grad.shape[1:])

    def unmoved(grad: Array, slots: list[Any], *_: Any) -> Any:
        return grad.astype(update.dtype), slots

    def one(at: Int[Array, ""] | int, many: int, carry: list[Array]) -> list[Array]:
        floats = list(map(_from_bits, (_rows(x, at, many) for x in carry), types))
        pairs = zip(bits, read, strict=True)
        others = [_from_bits(_rows(x, at, many), old.dtype) for x, old in pairs]
        seen = floats[0] if over else others[0]
        old = jax.tree.unflatten(jax.tree.structure(_rows([*slots], at, many)), floats[1:])
        first = jnp.asarray(at, jnp.uint32) * jnp.uint32(stride % 2**32)
        # A branch takes copies of the rows. Loops that read them where they are would have XLA copy
        # the whole array before each write.
        part = None if param is None else others[-1]
        done = jax.lax.cond(there, evaluate, unmoved, seen, old, part, first)
        pairs = zip(carry, map(_as_bits, _leaves(done)), strict=True)
        return [jax.lax.dynamic_update_slice_in_dim(x, new, at, 0) for x, new in pairs]

    carry = list(map(_as_bits, begun))
    carry = jax.lax.fori_loop(0, count, lambda i, carry: one(i * rows, rows, carry), carry)
    carry = one(count * rows, left, carry) if left else carry
    out, *arrays = map(_from_bits, carry, types)
    return out, jax.tree.unflatten(jax.tree.structure([*slots]), arrays)


def _leaves(tree: Any) -> list[Array]:
    return jax.tree.leaves(tree)


def _rows(tree: Any, at: Any, many: int) -> Any:
    """So many rows of each array, codes with what they are the codes of."""

    def rows(x: Any) -> Any:
        if isinstance(x, Coded):
            return replace(x, codes=jax.tree.map(rows, x.codes), whole=(many, *x.whole[1:]))
        if not hasattr(x, "dtype"):
            return x
        return jax.lax.dynamic_slice_in_dim(x, at, many, 0)

    return jax.tree.map(rows, tree, is_leaf=is_kept)


def _as_bits(x: Array) -> Array:
    """Half precision as integers: XLA for the CPU writes into it by converting all of it."""
    return jax.lax.bitcast_convert_type(x, jnp.uint16) if is_half(x) else x


def _from_bits(x: Array, dtype: Any) -> Array:
    return x if x.dtype == dtype else jax.lax.bitcast_convert_type(x, dtype)
