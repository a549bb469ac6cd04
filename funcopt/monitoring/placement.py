"""Where what is looked at lies: on meshes whose axes are a part of types, and in `shard_map`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ..core.arguments import is_tracer
from ..math.varying import named, varying_along, varying_axes


def gathered(function: Callable, *args: Any) -> Any:
    """`function(*args)`, with results that every device has whole.

    Where the sharding of an array is a part of its type, rows that lie differently cannot become
    one table, nor can an array be thinned whose parts do not stay equal: there the compiler finds
    out by itself how to come by the results.
    """
    meshes = [jax.typeof(x).sharding.mesh for x in jax.tree.leaves(args)]
    mesh = next((mesh for mesh in meshes if _explicit(mesh)), None)
    if mesh is None:
        return function(*args)
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.sharding.auto_axes(function, axes=_explicit(mesh), out_sharding=whole)(*args)


def is_explicit(x: Any) -> bool:
    """Whether the type of an array says where on a mesh it lies."""
    return bool(_explicit(jax.typeof(x).sharding.mesh))


def beside(tree: Any, arrays: list[Any]) -> Any:
    """The tree on the mesh of the arrays, whole on every device, if theirs is one of types."""
    placed = next((x for x in arrays if _explicit(jax.typeof(x).sharding.mesh)), None)
    if placed is None:
        return tree
    traced = is_tracer(placed)
    mesh: Any = jax.typeof(placed).sharding.mesh if traced else placed.sharding.mesh
    put = jax.sharding.reshard if traced else jax.device_put
    return jax.tree.map(lambda x: put(x, NamedSharding(mesh, PartitionSpec())), tree)


def _explicit(mesh: Any) -> tuple[str, ...]:
    axes = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return tuple(name for name, axis_type in axes if axis_type is AxisType.Explicit)


def local_axes(axis_name: Any, *trees: Any) -> frozenset[str]:
    """The mapped axes along which one of the arrays varies, but for those that are named."""
    arrays = [x for x in jax.tree.leaves(trees) if isinstance(x, jax.Array)]
    return varying_axes(*arrays) - frozenset(named(axis_name))


def varying(tree: Any, axes: frozenset[str]) -> Any:
    """The tree, of types that vary along `axes`, as every branch and every step must have it."""
    return jax.tree.map(partial(varying_along, axes=axes), tree) if axes else tree
