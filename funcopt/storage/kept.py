"""What is kept of a slot between steps: an array, or the codes that a codec makes of one."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..math.dtypes import at_least, cast

Rounding = Literal["auto", "nearest", "stochastic"]


class Codec:
    """How an array is kept in fewer bits. Subclasses are frozen and hashable: they are structure.

    `holds` says which slots it may keep: "signed", "nonnegative", "exact". A running mean in which
    a new value has a smaller weight than `slow` would stop moving if it were rounded to the nearest
    code; None for a codec that rounds in one way only and takes no noise.
    """

    holds: ClassVar[tuple[str, ...]] = ("signed",)
    rounding: Rounding = "auto"

    @property
    def name(self) -> str:
        """As tables show it."""
        return type(self).__name__.lower()

    @property
    def slow(self) -> float | None:
        return None

    def encode(self, x: Array, noise: Array | None = None) -> Any:
        """The codes of an array: arrays in any pytree.

        Args:
            x: in float32.
            noise: 32 random bits for each element, the higher ones first, by which it is rounded up
                or down so that its mean is `x`; None for the nearest code.
        """
        raise NotImplementedError

    def decode(self, codes: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        """The array of which these are the codes."""
        raise NotImplementedError


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True)
class Coded:
    """A slot as its codec keeps it."""

    codes: Any
    codec: Codec
    shape: tuple[int, ...]

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        return ((jax.tree_util.GetAttrKey("codes"), self.codes),), (self.codec, self.shape)

    @classmethod
    def tree_unflatten(cls, structure: Any, children: Any) -> "Coded":
        return cls(*children, *structure)


def coded(codec: Codec, x: Array, noise: Array | None = None) -> Coded:
    codes = codec.encode(x) if noise is None else codec.encode(x, noise)
    return Coded(codes, codec, x.shape)


def decoded(kept: Array | Coded, dtype: Any) -> Array:
    """A slot in `dtype`, real where what is kept is real; counts stay what they are."""
    real = jnp.finfo(dtype).dtype
    if isinstance(kept, Coded):
        return kept.codec.decode(kept.codes, kept.shape, real)
    if not jnp.issubdtype(kept.dtype, jnp.inexact):
        return kept
    return cast(kept, dtype if jnp.iscomplexobj(kept) else real)


def kept_again(
    x: Array, old: Array | Coded, least: Any, noise: Array | None = None
) -> Array | Coded:
    """A slot as `old` was kept; an array at least in the type `least`."""
    if isinstance(old, Coded):
        return coded(old.codec, x, noise)
    return cast(x, at_least(old.dtype, least))
