"""optax's `masked`, with masks by path, and with what becomes of the others in sight."""

from typing import Any

import jax
import optax
from optax import GradientTransformation, GradientTransformationExtraArgs, Params

from ..core.paths import selected


def masked(
    inner: GradientTransformation,
    mask: Any,
    *,
    mask_compatible_extra_args: bool = False,
    otherwise: GradientTransformation | None = None,
) -> GradientTransformationExtraArgs:
    """A transformation of some parameters only: of those that `mask` selects.

    Args:
        inner: the transformation; it keeps a state for the selected parameters only.
        mask: a tree of flags, or a prefix of one, or a function that makes one; or one of
            funcopt's patterns, such as `"kernel$"` or `["!bias$", "!scale$"]`, that is searched in
            each path.
        mask_compatible_extra_args: whether extra arguments that are trees like the gradients are
            masked, too.
        otherwise: the transformation of all other parameters. None, as in optax: their raw
            gradients pass, which `apply_updates` would add. To freeze them, give `set_to_zero()`.

    >>> import funcopt.optax as optax, jax.numpy as jnp
    >>> grads = {"kernel": jnp.ones(1), "bias": jnp.ones(1)}
    >>> tx = optax.masked(optax.sgd(0.5), "kernel$", otherwise=optax.set_to_zero())
    >>> tx.update(grads, tx.init(grads))[0]
    {'bias': Array([0.], dtype=float32), 'kernel': Array([-0.5], dtype=float32)}
    """
    chosen = _by_path(mask) if _is_pattern(mask) else mask

    def rest(tree: Params) -> Any:
        flags = chosen(tree) if callable(chosen) else chosen
        return jax.tree.map(lambda flag: not flag, flags)

    args = {"mask_compatible_extra_args": mask_compatible_extra_args}
    first = optax.masked(inner, chosen, **args)
    return first if otherwise is None else optax.chain(first, optax.masked(otherwise, rest, **args))


def _is_pattern(mask: Any) -> bool:
    several = isinstance(mask, list | tuple) and bool(mask) and all(map(_is_pattern, mask))
    return isinstance(mask, str) or several


def _by_path(pattern: Any) -> Any:
    def flags(tree: Params) -> Any:
        return jax.tree.unflatten(jax.tree.structure(tree), selected(pattern, tree))

    return flags
