"""The orthogonal factor of a matrix by products of matrices alone.

    X ← X / (‖X‖ + eps)
    X ← a X + b (X Xᴴ) X + c (X Xᴴ)² X      once for each triple (a, b, c)

Every singular value s goes through the polynomials a s + b s³ + c s⁵, which lead those in (0, 1] to
about 1; singular vectors stay as they are. Björck & Bowie, 1971
(https://doi.org/10.1137/0708036); Higham, 2008, chapter 8.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .dtypes import cast, common_dtype
from .moments import times
from .norm import norm_below

Triple = tuple[Any, Any, Any]


def newton_schulz(
    x: Inexact[Array, "m n"], triples: Sequence[Triple], eps: Any = 0.0, dtype: Any = None
) -> Inexact[Array, "m n"]:
    """About U Vᴴ, where x = U S Vᴴ; zero where x is.

    Its products are of the smaller of both sides, of matrices in `dtype` with sums that are as wide
    as `x`. None: of float32, bfloat16 on accelerators and float32 on a CPU; anything else as it is.
    They are as precise as `jax.default_matmul_precision` says.
    """
    tall = x.shape[0] > x.shape[1]
    y = x.conj().T if tall else x
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(y)), initial=0)
    size = norm_below(y, largest) + eps  # `norm` has a branch, which takes long to compile
    y = y / cast(jnp.where(size > 0, size, 1), y.dtype)
    steps = partial(_steps, triples=triples)
    if dtype is None and y.dtype == jnp.float32:
        half = partial(steps, dtype=jnp.bfloat16)
        y = jax.lax.platform_dependent(y, cpu=partial(steps, dtype=y.dtype), default=half)
    else:
        y = steps(y, dtype=y.dtype if dtype is None or jnp.iscomplexobj(y) else dtype)
    return y.conj().T if tall else y


def _steps(
    y: Inexact[Array, "m n"], triples: Sequence[Triple], dtype: Any
) -> Inexact[Array, "m n"]:
    sums = common_dtype(dtype, jnp.float32)

    def product(a: Array, b: Array) -> Array:
        narrow = cast(a, dtype), cast(b, dtype)
        return cast(jnp.matmul(*narrow, preferred_element_type=sums), y.dtype)

    def step(y: Array, triple: Array) -> tuple[Array, None]:
        a, b, c = triple
        gram = product(y, y.conj().T)
        return times(a, y) + product(times(b, gram) + times(c, product(gram, gram)), y), None

    real = jnp.finfo(y.dtype).dtype
    numbers = jnp.stack([jnp.stack([cast(x, real) for x in triple]) for triple in triples])
    return jax.lax.scan(step, y, numbers)[0]
