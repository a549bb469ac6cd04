"""The orthogonal factor of a matrix by products of matrices alone.

    X ← X / (‖X‖ + eps)
    X ← a X + b (X Xᴴ) X + c (X Xᴴ)² X      once for each triple (a, b, c)

Every singular value s goes through the polynomials a s + b s³ + c s⁵, which lead those in (0, 1] to
about 1; singular vectors stay as they are. Björck & Bowie, 1971
(https://doi.org/10.1137/0708036); Higham, 2008, chapter 8.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .dtypes import cast
from .moments import times
from .norm import norm

Triple = tuple[Any, Any, Any]


def newton_schulz(
    x: Inexact[Array, "m n"], triples: Sequence[Triple], eps: Any = 0.0
) -> Inexact[Array, "m n"]:
    """About U Vᴴ, where x = U S Vᴴ; zero where x is.

    Its products are of the smaller of both sides, and as precise as
    `jax.default_matmul_precision` says.
    """
    tall = x.shape[0] > x.shape[1]
    y = x.conj().T if tall else x
    size = norm(y) + eps
    y = y / cast(jnp.where(size > 0, size, 1), y.dtype)
    for a, b, c in triples:
        gram = y @ y.conj().T
        y = times(a, y) + (times(b, gram) + times(c, gram @ gram)) @ y
    return y.conj().T if tall else y
