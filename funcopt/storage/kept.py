"""What is kept of a slot between steps: an array, or the codes that a codec makes of one."""

import math
import sys
from dataclasses import dataclass, replace
from functools import cache
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

    @property
    def step(self) -> float:
        """The distance of neighbouring codes, relative to the lower one; infinite if not known."""
        return math.inf

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

    def part(self, codes: Any, whole: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what these are the codes of: in `jax.shard_map` of a part of the array."""
        del codes
        return whole


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True)
class Coded:
    """A slot as its codec keeps it, first made of an array of the shape `whole`."""

    codes: Any
    codec: Codec
    whole: tuple[int, ...]

    def __post_init__(self):
        flax = sys.modules.get("flax.serialization")
        if flax is not None:  # never imported from here
            _registered(flax)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that is here, which in `jax.shard_map` is a device's part."""
        return self.codec.part(self.codes, self.whole)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        # A checkpoint has the name in its paths, and none is restored as what it is not.
        key = jax.tree_util.GetAttrKey(self.codec.name)
        return ((key, self.codes),), (self.codec, self.whole)

    @classmethod
    def tree_unflatten(cls, structure: Any, children: Any) -> "Coded":
        return cls(*children, *structure)


@cache
def _registered(flax: Any) -> None:
    """Let Flax serialize codes: of classes that are no named tuples it has to be told how."""

    def to_dict(kept: Coded) -> dict[str, Any]:
        return {kept.codec.name: flax.to_state_dict(kept.codes)}

    def from_dict(target: Coded, found: Any) -> Coded:
        name = target.codec.name
        new = flax.from_state_dict(target.codes, found[name]) if _has(found, name) else None
        if new is None or _shapes(new) != _shapes(target.codes):
            kept = next(iter(found)) if isinstance(found, dict) else getattr(found, "dtype", "that")
            raise ValueError(
                f"A slot is kept by {target.codec!r}, and the checkpoint has {kept}: it was made "
                "with another storage=. Restore it with a state of that one as its target, of "
                "which funcopt.convert_state makes one of this."
            )
        return replace(target, codes=new)

    flax.register_serialization_state(Coded, to_dict, from_dict, override=True)


def _shapes(codes: Any) -> list[tuple[int, ...]]:
    return [jnp.shape(x) for x in (codes if isinstance(codes, tuple) else (codes,))]


def _has(found: Any, name: str) -> bool:
    return isinstance(found, dict) and name in found


def coded(codec: Codec, x: Array, noise: Array | None = None) -> Coded:
    codes = codec.encode(x) if noise is None else codec.encode(x, noise)
    return Coded(codes, codec, x.shape)


def coded_again(old: Coded, x: Array, noise: Array | None = None) -> Coded:
    """The codes of an array in place of those of another one like it."""
    return replace(coded(old.codec, x, noise), whole=old.whole)


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
        return coded_again(old, x, noise)
    dtype = at_least(old.dtype, least)
    return cast(_held(x), dtype) if dtype == jnp.float16 else cast(x, dtype)


def _held(x: Array) -> Array:
    """What is finite within the range of float16."""
    most = float(jnp.finfo(jnp.float16).max)
    return jnp.where(jnp.isfinite(x), jnp.clip(x, -most, most), x)
