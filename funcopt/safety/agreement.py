"""What replicas and shards decide and measure together: a step that is bad on one is bad on all."""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..math.dtypes import common_dtype
from ..math.global_norm import Squares, norm_of, square_sums, total
from ..math.varying import AxisNames, named, norm_across, varying_axes


def everywhere(flag: Bool[Array, ""], axis_name: AxisNames) -> Bool[Array, ""]:
    """Whether `flag` is true on all of the mapped axes; on this device, where there are none."""
    if axis_name is None:
        return flag
    return jax.lax.pmin(flag.astype(jnp.int32), axis_name).astype(bool)


def square_sum_across(
    leaves: Sequence[Array | np.ndarray], axis_name: AxisNames
) -> Float[Array, ""]:
    """The sum of squares, over all devices where the type of a leaf says that it is a part."""
    sums = [
        jax.lax.psum(total(part), axes) if axes else total(part)
        for axes, part in _parts(square_sums([x for x in leaves if jnp.size(x)]), axis_name)
    ]
    return reduce(jax.lax.add, sums, jnp.zeros([], common_dtype(jnp.float32, *sums)))


def whole_norm(squares: Sequence[Squares], axis_name: AxisNames) -> Float[Array, ""]:
    """The norm of all leaves, of which `squares` are the sums of squares on this device.

    It is that over all devices where types tell that a leaf is a part; where they do not, the
    largest of the devices' norms.
    """
    if axis_name is None or not squares:
        return norm_of(squares)
    norms = [norm_across(norm_of(part), axes) for axes, part in _parts(squares, axis_name)]
    whole = norms[0] if len(norms) == 1 else norm_of(square_sums(norms))
    return jax.lax.pmax(whole, axis_name)


def _parts(
    squares: Sequence[Squares], axis_name: AxisNames
) -> list[tuple[tuple[str, ...], list[Squares]]]:
    """The leaves by those of the axes along which they vary."""
    groups: dict[tuple[str, ...], list[Squares]] = {}
    for each in squares:
        told = varying_axes(*each.leaves)
        axes = tuple(axis for axis in named(axis_name) if axis in told)
        groups.setdefault(axes, []).append(each)
    return list(groups.items())
