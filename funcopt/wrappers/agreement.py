"""Decisions that replicas make together: one that is bad on one device is bad on all."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


def everywhere(flag: Bool[Array, ""], axis_name: Any) -> Bool[Array, ""]:
    """Whether `flag` is true on all of the mapped axes; on this device, where there are none."""
    if axis_name is None:
        return flag
    return jax.lax.pmin(flag.astype(jnp.int32), axis_name).astype(bool)
