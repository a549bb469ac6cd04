"""Where a new state lies: on the mesh of the parameters, so that a step is compiled once."""

from typing import TypeGuard, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array
from optax import OptState, Params

from .arguments import is_tracer

Tree = TypeVar("Tree")


def beside_parameters(params: Params, state: OptState) -> OptState:
    """The state, whose arrays that lie on one device are on every device that has parameters.

    Slots are made like their parameters, and lie as these. A count is made of nothing: after one
    step in `jit` it is on every device, and another step would be compiled for that. In a trace,
    and on meshes with explicit axes, where types say it, all stays as it is.
    """
    mesh = mesh_of(params)
    if mesh is None:
        return state
    everywhere = NamedSharding(mesh, PartitionSpec())

    def placed(x: object) -> object:
        alone = is_concrete(x) and isinstance(x.sharding, SingleDeviceSharding)
        return jax.device_put(x, everywhere) if alone else x

    return jax.tree.map(placed, state)


def mesh_of(params: Params) -> Mesh | None:
    """The mesh with several devices on which all parameters lie, if there is one."""
    found = set()
    for x in filter(is_concrete, jax.tree.leaves(params)):
        mesh = x.sharding.mesh if isinstance(x.sharding, NamedSharding) else None
        if not isinstance(mesh, Mesh) or any(kind != AxisType.Auto for kind in mesh.axis_types):
            return None
        found.add(mesh)
    return found.pop() if len(found) == 1 and next(iter(found)).size > 1 else None


def is_concrete(x: object) -> TypeGuard[Array]:
    return isinstance(x, jax.Array) and not is_tracer(x)


def on_device(tree: Tree) -> Tree:
    """The arrays of a tree in the memory of the device, where they can be computed with."""
    device = jax.memory.Space.Device

    def here(x: object) -> Array:
        array = jnp.asarray(x)
        return array if jax.typeof(array).memory_space == device else jax.device_put(array, device)

    return jax.tree.map(here, tree)
