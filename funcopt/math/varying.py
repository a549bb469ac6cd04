"""Arrays that differ between the devices of a mapped axis, and what is taken over all of them.

In `jax.shard_map` the type of an array says along which axes of the mesh it *varies*: a shard does,
a copy does not. What is summed over the whole of a sharded array is summed over these axes, and a
copy, which all devices hold as a whole, is not.

With `check_vma=False`, and under `vmap` and `pmap`, types do not say it: there every array counts
as varying along every axis that is named.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .choice import where
from .safe import safe_sqrt

AxisNames = str | tuple[str, ...] | None


def varying_axes(*xs: Any) -> frozenset[str]:
    """The axes along which one of `xs` varies, as far as types tell."""
    return frozenset().union(*map(_varying, xs))


def _varying(x: Any) -> frozenset[str]:
    if not isinstance(x, jax.Array | jax.ShapeDtypeStruct):
        return frozenset()
    aval = x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)
    # jax 0.10 keeps the set in a field of `manual_axis_type`.
    kept = getattr(aval, "manual_axis_type", None)
    told = getattr(aval, "vma", None) if kept is None else kept.varying
    return told or frozenset()


def varying_like(x: Array, *likes: Any) -> Array:
    """`x`, of a type that varies where one of `likes` does, so that a loop may carry them on.

    A zero that a state begins with does not vary; what takes its place after a step may.
    """
    return varying_along(x, varying_axes(*likes))


def varying_along(x: Array, axes: Iterable[str]) -> Array:
    """`x`, of a type that varies along `axes`."""
    missing = tuple(sorted(frozenset(axes) - varying_axes(x)))
    if not missing:
        return x
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(x, missing, to="varying")
    return jax.lax.pvary(x, missing)  # pyright: ignore[reportAttributeAccessIssue]  (jax 0.7)


def zero_learnt_from(x: Array, axis_name: AxisNames) -> Float[Array, ""]:
    """A zero of the type that a number has which is learnt from the whole of `x`."""
    zero = jnp.zeros([], x.real.dtype if jnp.iscomplexobj(x) else x.dtype)
    return varying_along(zero, varying_axes(x) - set(named(axis_name)))


def zeros_learnt_from(x: Array, axis_name: AxisNames) -> Array:
    """Zeros like `x`, of the type of a mean of such arrays over all devices."""
    axes = tuple(sorted(varying_axes(x) & set(named(axis_name))))
    zeros = jnp.zeros_like(x)
    return jax.lax.psum(zeros, axes) if axes else zeros


def named(axis_name: AxisNames) -> tuple[str, ...]:
    if axis_name is None:
        return ()
    return axis_name if isinstance(axis_name, tuple) else (axis_name,)


def axes_of(x: Any, axis_name: AxisNames) -> tuple[str, ...]:
    """Those of the axes `axis_name` along which `x` varies; all of them where types do not tell."""
    axes = named(axis_name)
    told = varying_axes(x)
    return tuple(axis for axis in axes if axis in told or not _types_tell(axis))


def _types_tell(axis: str) -> bool:
    """Whether types say along which axes an array varies: the index of a device always does."""
    return axis in varying_axes(jax.lax.axis_index(axis))


def sum_across(x: Array, axis_name: AxisNames) -> Array:
    """The sum over all devices that hold another part of it; `x` where it is a copy."""
    axes = axes_of(x, axis_name)
    return jax.lax.psum(x, axes) if axes else x


def max_across(x: Array, axis_name: AxisNames) -> Array:
    """The largest on any device: JAX knows no derivative of it, here it is a constant."""
    axes = axes_of(x, axis_name)
    return jax.lax.pmax(jax.lax.stop_gradient(x), axes) if axes else x


def min_across(x: Array, axis_name: AxisNames) -> Array:
    """The smallest on any device, a constant as in `max_across`."""
    axes = axes_of(x, axis_name)
    return jax.lax.pmin(jax.lax.stop_gradient(x), axes) if axes else x


def mean_across(x: Array, axis_name: AxisNames) -> Array:
    axes = axes_of(x, axis_name)
    return jax.lax.pmean(x, axes) if axes else x


def parts(x: Array, axis_name: AxisNames) -> int:
    """Into how many parts, on as many devices, an array is split of which `x` is one."""
    axes = axes_of(x, axis_name)
    return jax.lax.psum(1, axes) if axes else 1


def norm_across(part: Float[Array, "*n"], axis_name: AxisNames) -> Float[Array, "*n"]:
    """The norm of what is spread over devices, of which `part` is that of the part on this one."""
    axes = axes_of(part, axis_name)
    if not axes:
        return part
    fixed = jax.lax.stop_gradient(part)
    largest = jax.lax.pmax(fixed, axes)
    usable = jnp.isfinite(largest) & (largest > 0)
    unit = where(usable, largest, 1)
    whole = unit * safe_sqrt(jax.lax.psum((part / unit) ** 2, axes))
    return where(usable, whole, jax.lax.psum(fixed, axes))


def total_across(numbers: Sequence[Array], axis_name: AxisNames) -> Array:
    """The sum of some numbers, of which those that vary are first summed over devices."""
    groups = [[numbers[i] for i in group] for group in grouped_by_axes(numbers, axis_name)]
    return reduce(jax.lax.add, [sum_across(reduce(jax.lax.add, x), axis_name) for x in groups])


def grouped_by_axes(xs: Sequence[Array], axis_name: AxisNames) -> list[list[int]]:
    """The places of the arrays that vary along the same of the axes `axis_name`, together."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, x in enumerate(xs):
        groups.setdefault(axes_of(x, axis_name), []).append(i)
    return list(groups.values())
