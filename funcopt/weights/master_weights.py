"""Master weights: an optimizer's own float32 beside parameters of 16 bits.

    x ← x + inner update at x       the master weight, in float32
    p ← x rounded to 16 bits        the parameter

Micikevicius et al., 2018, section 3.1 (https://arxiv.org/abs/1710.03740). A copy of x needs 4 bytes
beside the 2 of p. But p is the upper half of x, rounded: the lower half alone, as the integer that
is to be added to the bits, makes x again, all of it in 2 bytes, or 24 bits of it in 1.
"""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from optax import Params

from ..core.arguments import Base, Choice
from ..core.paper import Paper
from ..core.record import record
from ..core.transformation import transformation
from ..math.halves import joined, nearest, same_bits, split
from ..math.once import number_once
from .landing import Way, Weights

KINDS = ("int16", "int8", "float32")
Kind = Annotated[Literal["int16", "int8", "float32"], Choice(KINDS)]


class MasterSlots(NamedTuple):
    """What makes a parameter its master weight: the rest of the bits, or a copy."""

    master: Params

    @staticmethod
    def whole(param: Array, kept: Array) -> Array:
        if jnp.issubdtype(kept.dtype, jnp.integer):
            return joined(param, kept)
        # A parameter that the copy is not rounded to was changed by someone else.
        own = same_bits(nearest(kept, param.dtype), param)
        return jnp.where(own, kept, param.astype(kept.dtype))


@record
class MasterWeights(Way):
    """`kind` is the type of what is kept."""

    kind: Kind

    slots: ClassVar = MasterSlots
    restores: ClassVar = "float32"

    @property
    def half(self) -> tuple[str, ...]:
        return ("bfloat16", "float16") if self.kind == "float32" else ("bfloat16",)

    @property
    def instead(self) -> str:
        return 'A float32 copy is kept of any, with kind="float32".'

    def draws(self, kept: Array) -> bool:
        return kept.dtype == jnp.int8  # the state's, which may be of another kind

    def begin(self, param: Array) -> Array:
        kept = jnp.dtype(self.kind)
        return param.astype(kept) if self.kind == "float32" else jnp.zeros_like(param, kept)

    def moved(
        self, update: Array, x: Array, param: Array, kept: Array, noise: Array | None
    ) -> tuple[Array, Any]:
        # From the weight alone both parts are made where they lie; from all that it is made of XLA
        # would copy both.
        x = number_once(x + update)
        if jnp.issubdtype(kept.dtype, jnp.integer):
            return split(x, kept.dtype, noise)
        return nearest(x, param.dtype), x

    def settled(self, rest: Array, new: Array, landed: Array, param: Array) -> Array:
        del param  # what is left out is all that was written
        if jnp.issubdtype(rest.dtype, jnp.integer):
            return jnp.where(same_bits(landed, new), rest, 0)
        return jnp.where(same_bits(landed, new), rest, landed.astype(rest.dtype))


MIXED_PRECISION = Paper(
    "Micikevicius, Paulius and Narang, Sharan and Alben, Jonah and Diamos, Gregory and Elsen, "
    "Erich and Garcia, David and Ginsburg, Boris and Houston, Michael and Kuchaiev, Oleksii and "
    "Venkatesh, Ganesh and Wu, Hao",
    "Mixed Precision Training",
    2018,
    "https://arxiv.org/abs/1710.03740",
    booktitle="International Conference on Learning Representations",
)


@transformation(paper=MIXED_PRECISION)
def master_weights(inner: Base, kind: Kind = "int16"):
    """Train parameters in half precision as if they were float32, by what is kept beside them.

    The optimizer inside sees float32 weights, whose nearest 16-bit numbers the parameters are. Put
    it around all that makes the step, clips too.

    Args:
        inner: the optimizer, funcopt's or optax's.
        kind: what is kept beside a bfloat16 parameter. `"int16"`: the other 16 bits of the float32
            weight, exactly, so that both together take 4 bytes; `"int8"`: 8 of them, rounded by
            chance, so that weights have 24 bits and small steps count on average; `"float32"`: a
            copy, 6 bytes together, the only one for float16 parameters, and the fastest on the CPU.

    Parameters in float32 or wider are left to `inner`. Weights are rounded to bfloat16 with ties
    away from 0, so that each kind gives the same parameters, and what is finite stays so: at most
    3.396e38 in magnitude. A parameter that was changed between two steps, by restored weights or
    another optimizer, is where the training goes on: a copy that does not belong to it is not
    taken, and other bits add at most half a unit in its last place.

    Updates of such parameters are float32, for which both `optax.apply_updates` and
    `funcopt.apply_updates` land exactly on the new parameter, as long as nothing outside rounds
    them. Only a weight that becomes more than 2¹⁶ times smaller in one step is by this at most 2⁻²⁵
    of what it was beside the exact one. `funcopt.step` writes the parameters directly, exact in
    each case, where this is the outermost.

    Raises:
        ValueError: a parameter is float16, of another kind than `"float32"`; `update` was called
            without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.master_weights(funcopt.sgd(1e-3)), jnp.ones(2, "bfloat16")
    >>> state = tx.init(params)
    >>> for _ in range(8):  # bfloat16 alone is 1 for ever: its next number below is 0.9961
    ...     params, state = funcopt.step(tx, jnp.ones(2, "bfloat16"), state, params)
    >>> params, state.slots.master
    (Array([0.992188, 0.992188], dtype=bfloat16), Array([-3144, -3144], dtype=int16))

    Source: https://arxiv.org/abs/1710.03740, section 3.1; the copy in integers is funcopt's.
    """
    return Weights(inner, MasterWeights(kind))
