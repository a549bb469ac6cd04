"""A lower bound of the largest singular value of a Hermitian or skew-Hermitian matrix.

    A ← x / largest element,  V ← its longest row r, plus or minus each random vector v
    V ← V A², twice, of rows of length 1 in between;   the bound: the longest row of V A / ‖V‖

where the sign is that of ⟨r, v⟩. Li, 2024 (https://arxiv.org/abs/2402.11858), and his program.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

VECTORS = 32


def normal_numbers(key: Any, number: Int[Array, ""] | int, count: int) -> Float[Array, " count"]:
    """Normal numbers, others for each seed and number, and the same in all precisions."""
    key = jax.random.key(jnp.asarray(key).astype(jnp.int32))
    return jax.random.normal(jax.random.fold_in(key, number), (count,), jnp.float32)


def random_arrays(
    key: Any, number: Int[Array, ""] | int, shapes: Sequence[tuple[int, ...]], like: Array
) -> list[Array]:
    """Arrays of these numbers in the type of `like`; complex ones have a variance of 1, too.

    They are drawn together, since each draw takes long to compile.
    """
    sizes = [math.prod(shape) for shape in shapes]
    if jnp.iscomplexobj(like):
        parts = normal_numbers(key, number, 2 * sum(sizes)).astype(like.real.dtype) / 2**0.5
        drawn = jax.lax.complex(*jnp.split(parts, 2))
    else:
        drawn = normal_numbers(key, number, sum(sizes)).astype(like.dtype)
    ends = list(accumulate(sizes))[:-1]
    return [x.reshape(n) for x, n in zip(jnp.split(drawn, ends), shapes, strict=True)]


def norm_bound(
    x: Inexact[Array, "n n"], largest: Float[Array, ""], vectors: Inexact[Array, "k n"]
) -> Float[Array, ""]:
    """The bound, by a bound `largest` of elements and random vectors; 0 where x is 0.

    Its derivative is 0.
    """
    x, largest = jax.lax.stop_gradient((x, largest))
    tiny = jnp.finfo(x.dtype).smallest_normal
    unit = largest + tiny
    a = x / unit.astype(x.dtype)
    row = a[jnp.argmax(lengths(a)[:, 0])][None]
    v = row + jnp.sign(jnp.sum(row * vectors.conj(), 1, keepdims=True)) * vectors
    for _ in range(2):
        v = jnp.matmul(v, a, precision="highest")
        v = v / (lengths(v) + tiny).astype(x.dtype)
        v = jnp.matmul(v, a, precision="highest")
    return unit * jnp.max(lengths(v))


def lengths(x: Inexact[Array, "k n"]) -> Float[Array, "k 1"]:
    return jnp.sqrt(jnp.sum((x * x.conj()).real, 1, keepdims=True))
