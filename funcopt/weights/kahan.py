"""Kahan summation of parameters in half precision: what a step loses, the next one makes good.

    y ← inner update + c
    p′ ← p + y, rounded to 16 bits
    c ← y − (p′ − p)                in as many bits

Kahan, 1965 (https://doi.org/10.1145/363707.363723); for weights, Zamirai et al., 2020, Algorithm 2
(https://arxiv.org/abs/2010.06192).
"""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from optax import Params

from ..core.arguments import Base
from ..core.paper import Paper
from ..core.record import record
from ..core.transformation import transformation
from ..math.halves import HALF_UNIT, nearest
from .landing import Way, Weights


class KahanSlots(NamedTuple):
    """What the rounding of the last step left out."""

    compensation: Params

    @staticmethod
    def whole(param: Array, kept: Array) -> Array:
        return param.astype(jnp.float32) + _own(param, kept)


def _own(param: Array, kept: Array) -> Array:
    """What was left out, but where it is more than a rounding of this parameter leaves out: then
    the parameter was changed by someone else.
    """
    c, size = kept.astype(jnp.float32), jnp.abs(param.astype(jnp.float32))
    return jnp.where(jnp.abs(c) <= HALF_UNIT[param.dtype.name] * size, c, 0)


@record
class Kahan(Way):
    slots: ClassVar = KahanSlots

    def moved(
        self, update: Array, x: Array, param: Array, kept: Array, noise: None
    ) -> tuple[Array, Array]:
        del x, noise  # the update and what was left out are added before the parameter is
        c = _own(param, kept)
        y = update + c
        new = nearest(param.astype(jnp.float32) + y, param.dtype)
        return jnp.where(update == 0, param, new), y

    def settled(self, rest: Array, new: Array, landed: Array, param: Array) -> Array:
        del new  # what was written counts
        gone = landed.astype(jnp.float32) - param.astype(jnp.float32)
        return nearest(jnp.where(jnp.isfinite(gone), rest - gone, 0), param.dtype)


KAHAN = Paper(
    "Zamirai, Pedram and Zhang, Jian and Aberger, Christopher R. and De Sa, Christopher",
    "Revisiting BFloat16 Training",
    2020,
    "https://arxiv.org/abs/2010.06192",
)


@transformation(paper=KAHAN)
def kahan(inner: Base):
    """Kahan summation: keep what half-precision parameters lose of a step, and add it to the next.

    Of bfloat16 it makes weights of about 16 significant bits in 4 bytes. `master_weights` has all
    24 in as many; this is for comparison with other libraries, and for float16, in which it needs 4
    bytes where a copy needs 6. Put it around all that makes the step.

    Args:
        inner: the optimizer, funcopt's or optax's. It sees float32 parameters.

    Parameters in float32 or wider are left to `inner`. Updates of the others are float32, and land
    as those of `master_weights` do. A compensation that is more than half a unit in the last place
    of its parameter, because that was changed by someone else, is not taken.

    Raises:
        ValueError: `update` was called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.kahan(funcopt.sgd(1e-3)), jnp.ones(2, "bfloat16")
    >>> state = tx.init(params)
    >>> for _ in range(8):
    ...     params, state = funcopt.step(tx, jnp.ones(2, "bfloat16"), state, params)
    >>> params
    Array([0.992188, 0.992188], dtype=bfloat16)

    Source: https://arxiv.org/abs/2010.06192, Algorithm 2.
    """
    return Weights(inner, Kahan())
