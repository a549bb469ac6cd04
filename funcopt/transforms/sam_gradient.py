"""Sharpness-aware minimization: the gradient at the worst point nearby, in place of that here.

    x̂ = x + rho g / ‖g‖                    SAM: Foret et al., 2021 (https://arxiv.org/abs/2010.01412)
    x̂ = x + rho |x|² g / ‖|x| g‖           ASAM: Kwon et al., 2021 (https://arxiv.org/abs/2102.11600)

over all elements of all leaves; the gradient at x̂ is what any optimizer steps with from x.
"""

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..core.arguments import Numeric, Within
from ..core.step import apply_updates
from ..math.dtypes import common_dtype
from ..math.global_norm import global_norm
from ..math.moments import times
from ..math.safe import safe_divide
from ..math.varying import AxisNames

P = ParamSpec("P")
Loss = TypeVar("Loss")
Grads = TypeVar("Grads")

RHO = Within(0, math.inf, "[)", schedule=False)


def sam_gradient(
    value_and_grad: Callable[P, tuple[Loss, Grads]],
    rho: Numeric = 0.05,
    *,
    adaptive: bool = False,
    axis_name: AxisNames = None,
) -> Callable[P, tuple[Loss, Grads]]:
    """SAM: a function for loss and gradient whose gradient is that of a point uphill from here.

    It stands where `jax.value_and_grad(loss_fn)` does, in front of any optimizer, guard and
    accumulation, and evaluates that twice: a step takes twice as long.

    Args:
        value_and_grad: `(params, ...) -> (loss, grads)`, such as `jax.value_and_grad(loss_fn)`, or
            `((loss, aux), grads)`, as with `has_aux=True`. Gradients point uphill, see `step`.
        rho: how far that point is away, at least 0; 0.05 is usual, and with `adaptive` 0.5 to 2.
            An array, of the moment in training, may be traced.
        adaptive: ASAM: distances are relative to the magnitude of each parameter.
        axis_name: the axes of `jax.shard_map` over which gradients are sharded by hand, as in
            `global_norm`. Where batches are split instead and nobody averages gradients in
            `value_and_grad`, every device goes uphill of its own batch, as the paper does.

    Returns:
        A function with the same arguments: the loss (and aux) here, and the gradient there. Where
        the gradient here is zero it is that.

    Raises:
        ValueError, TypeError: `rho` is out of its range or no number.

    The point uphill is rounded to the parameters' dtype: bfloat16 holds no step that is less than
    1/256 of a parameter.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w: jnp.sum(w**2)
    >>> funcopt.sam_gradient(jax.value_and_grad(loss), rho=0.5)(jnp.array([3.0, 4.0]))
    (Array(25., dtype=float32), Array([6.6, 8.8], dtype=float32))

    Source: https://arxiv.org/abs/2010.01412, Algorithm 1.
    """
    rho = RHO("sam_gradient: rho", rho)
    if not callable(value_and_grad):
        raise TypeError(
            f"sam_gradient: value_and_grad must be a function, such as jax.value_and_grad(loss), "
            f"got {value_and_grad!r}."
        )

    def uphill(*args: P.args, **kwargs: P.kwargs) -> tuple[Loss, Grads]:
        told, grads = value_and_grad(*args, **kwargs)
        there = apply_updates(args[0], ascent(grads, args[0], rho, adaptive, axis_name))
        again: Any = value_and_grad
        return told, again(there, *args[1:], **kwargs)[1]

    return uphill


def ascent(
    grads: Any, params: Any, rho: ArrayLike, adaptive: bool, axis_name: AxisNames = None
) -> Any:
    """What leads from parameters to the point uphill, in float32 or wider."""

    def each(g: Any, x: Any, power: int) -> Any:
        if g is None:
            return None
        wide = jnp.asarray(g).astype(common_dtype(jnp.float32, g))
        size = jnp.abs(jnp.asarray(x)).astype(jnp.finfo(wide.dtype).dtype)
        return wide * size.astype(wide.dtype) ** power if adaptive else wide

    def scaled(power: int) -> Any:
        return jax.tree.map(
            lambda g, x: each(g, x, power), grads, params, is_leaf=lambda x: x is None
        )

    ratio = safe_divide(rho, global_norm(scaled(1), axis_name=axis_name))
    return jax.tree.map(lambda step: times(ratio, step), scaled(2))
