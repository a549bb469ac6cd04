"""How fast the direction changes in which parameters move."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from optax import Params

from ..core.arguments import AxisName
from ..math.dtypes import common_dtype
from ..math.global_norm import global_norm


def angular_velocity(
    params: Params, last: Params, before: Params, axis_name: AxisName = None
) -> Float[Array, ""]:
    """The angle in degrees between the last two steps of a trajectory, over all parameters.

        u = (x − x′) / ‖x − x′‖,  v = (x′ − x″) / ‖x′ − x″‖    x = params, x′ = last, x″ = before
        angle = 2 atan2(‖u − v‖, ‖u + v‖)

    which is arccos u·v without its loss of digits near 0 and 180 degrees. NaN where a step is zero,
    so that there is no angle. 0 where training goes straight on, about 90 where its steps have
    nothing in common, 180 where it goes back and forth. Where parameters are sharded by hand in
    `jax.shard_map`, `axis_name` has the axes over which they are, as in `global_norm`; without it
    the angle is that of the shards on this device.

    It is what `funcopt.on_autodrop` listens to, of the parameters at the ends of three epochs.

    >>> import funcopt, jax.numpy as jnp
    >>> before, last, params = jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array([1.0, 2.0])
    >>> funcopt.angular_velocity(params, last, before)
    Array(90., dtype=float32)
    """
    u, v = _direction(params, last, axis_name), _direction(last, before, axis_name)
    apart = global_norm(jax.tree.map(jnp.subtract, u, v), axis_name)
    together = global_norm(jax.tree.map(jnp.add, u, v), axis_name)
    return jnp.rad2deg(2 * jnp.arctan2(apart, together))


def _direction(x: Params, y: Params, axis_name: AxisName) -> Params:
    """x − y divided by its norm, NaN where that is zero."""
    step = jax.tree.map(_difference, x, y)
    norm = global_norm(step, axis_name)
    return jax.tree.map(lambda each: each / norm.astype(each.real.dtype), step)


def _difference(x: ArrayLike, y: ArrayLike) -> Array:
    wide = common_dtype(jnp.float32, x)
    return jnp.asarray(x).astype(wide) - jnp.asarray(y).astype(wide)
