"""What replicas and shards decide and measure together: a step that is bad on one is bad on all."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..math.global_norm import Facts, norm_of, square_sums, total
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
    leaves = [x for x in leaves if jnp.size(x)]
    sums = square_sums(leaves)
    return total(
        [
            jax.lax.psum(total([sums[i] for i in group]), axes) if axes else sums[i]
            for axes, group in _parts(leaves, axis_name)
            for i in (group[:1] if axes else group)
        ]
    )


def whole_norm(
    leaves: Sequence[Array | np.ndarray],
    sums: Sequence[Float[Array, ""]],
    axis_name: AxisNames,
    facts: Facts | None = None,
) -> Float[Array, ""]:
    """The norm of all leaves, of which `sums` are the sums of squares on this device.

    It is that over all devices where types tell that a leaf is a part; where they do not, the
    largest of the devices' norms.
    """
    if axis_name is None or not leaves:
        return norm_of(leaves, sums, facts)
    norms = [
        norm_across(norm_of([leaves[i] for i in group], [sums[i] for i in group]), axes)
        for axes, group in _parts(leaves, axis_name)
    ]
    together = norms[0] if len(norms) == 1 else norm_of(norms, square_sums(norms))
    return jax.lax.pmax(together, axis_name)


def _parts(
    leaves: Sequence[Array | np.ndarray], axis_name: AxisNames
) -> list[tuple[tuple[str, ...], list[int]]]:
    """The leaves by those of the axes along which they vary."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, x in enumerate(leaves):
        told = varying_axes(x)
        axes = tuple(axis for axis in named(axis_name) if axis in told)
        groups.setdefault(axes, []).append(i)
    return list(groups.items())
