"""Which parameters are meant: paths, and masks over them."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
from optax import Params

Mask = bool | str | Sequence[str] | Callable | Params | None
"""Which parameters: None or True for all, or a regular expression that is searched in the path
(with a leading "!": all but these), several of them, a predicate `(path, leaf) -> bool`, a function
`params -> tree of bools`, or a tree of bools (a prefix of the parameters' tree is enough)."""


def path_name(path: tuple) -> str:
    """A key path in words: `layers/0/kernel`.

    Flax NNX shows its parameters as `kernel/value` to `init` and as `kernel` to `update`; both
    are `kernel` here.
    """
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def path_names(tree: Params) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def marked(mask: Mask, tree: Params) -> list[bool]:
    """For each leaf of `tree`, in order, whether `mask` means it."""
    names = path_names(tree)
    if mask is None or isinstance(mask, bool):
        return [mask is not False] * len(names)
    if isinstance(mask, str):
        return _matching([mask], names)
    if isinstance(mask, list | tuple) and mask and all(isinstance(each, str) for each in mask):
        return _matching([str(each) for each in mask], names)
    if callable(mask):
        if _wants_path(mask):
            flags = [mask(name, x) for name, x in zip(names, jax.tree.leaves(tree), strict=True)]
            return [_flag(flag, name) for flag, name in zip(flags, names, strict=True)]
        mask = mask(tree)
    return _from_tree(mask, tree, names)


def _matching(patterns: Sequence[str], names: list[str]) -> list[bool]:
    wanted = [p for p in patterns if not p.startswith("!")]
    excluded = [p[1:] for p in patterns if p.startswith("!")]
    for pattern in [*wanted, *excluded]:
        if names and not any(re.search(pattern, name) for name in names):
            raise ValueError(
                f"The mask's pattern {pattern!r} matches no parameter. The parameters are: "
                f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
            )

    def means(name: str) -> bool:
        inside = not wanted or any(re.search(p, name) for p in wanted)
        return inside and not any(re.search(p, name) for p in excluded)

    return [means(name) for name in names]


def _wants_path(mask: Callable) -> bool:
    required = [
        p
        for p in inspect.signature(mask).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 2


def _from_tree(mask: Any, tree: Params, names: list[str]) -> list[bool]:
    flags: list[Any] = []
    try:
        jax.tree.map(
            lambda flag, part: flags.extend([flag] * len(jax.tree.leaves(part))), mask, tree
        )
    except ValueError as error:
        # Flax NNX wraps leaves before `update`: then the number of leaves must do.
        flags = jax.tree.leaves(mask)
        if len(flags) != len(names):
            raise ValueError(f"The mask's tree does not fit the parameters': {error}") from error
    return [_flag(flag, name) for flag, name in zip(flags, names, strict=True)]


def _flag(flag: Any, name: str) -> bool:
    try:
        return bool(flag)
    except Exception as error:
        raise TypeError(
            f"The mask must be known before the step runs, but for {name} it is {flag!r}. "
            "Use Python bools."
        ) from error
