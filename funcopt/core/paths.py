"""Which parameters are meant: paths, and masks over them."""

import inspect
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.core
import numpy as np
from optax import Params

from .record import Static


def checked_mask(where: str, mask: Any) -> Any:
    """`mask` with Python bools in its tree; what a function answers is checked when it is asked."""
    if _is_function(mask):
        return _checked_function(where, mask)
    if mask is None or isinstance(mask, bool):
        return mask
    patterns = patterns_of(mask)
    if patterns is None:
        return jax.tree_util.tree_map_with_path(
            lambda path, flag: _flag(f"{where} at {path_name(path)!r}" if path else where, flag),
            mask,
        )
    for pattern in patterns:
        try:
            re.compile(pattern.removeprefix("!"))
        except re.error as error:
            raise ValueError(
                f"{where}: {pattern!r} is not a regular expression: {error}."
            ) from error
    return mask


def _checked_function(where: str, mask: Callable) -> Callable:
    """A function of the parameters, or of a path and a leaf."""
    expected = "a function `params -> tree of bools` or `(path, leaf) -> bool`"
    if isinstance(mask, type):
        raise TypeError(f"{where} must be {expected}, got a class, {mask!r}: call it to make one.")
    try:
        parameters = inspect.signature(mask).parameters.values()
    except (TypeError, ValueError):  # of a function that is not Python's
        return mask
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in places if p.default is p.empty]
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or not (places or many):
        raise TypeError(
            f"{where} must be {expected}, got {mask!r}, which takes {len(places)} arguments."
        )
    return mask


@runtime_checkable
class Container(Protocol):
    """A dataclass, an Equinox module among them, that may hold a tree of bools."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Mask = Annotated[
    bool | Iterable[Any] | Callable[..., Any] | Container | None,
    checked_mask,
    Static,
]
"""Which parameters: None or True for all, or a regular expression that is searched in the path
(with a leading "!": all but these), several of them, a predicate `(path, leaf) -> bool`, a function
`params -> tree of bools`, or a tree of bools (a prefix of the parameters' tree is enough)."""


def path_name(path: tuple) -> str:
    """A key path in words: `layers/0/kernel`.

    Flax NNX shows its parameters as `kernel/value` to `init` and as `kernel` to `update`; both
    are `kernel` here.
    """
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def path_names(tree: Any) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def path_codes(tree: Any) -> list[np.uint32]:
    """A number for the path of each leaf, which is all that an array can hold of it."""
    return [np.uint32(zlib.crc32(name.encode())) for name in path_names(tree)]


def selected(mask: Any, tree: Params) -> list[bool]:
    """For each leaf of `tree`, in order, whether `mask` means it."""
    names = path_names(tree)
    if mask is None or isinstance(mask, bool):
        return [mask is not False] * len(names)
    patterns = patterns_of(mask)
    if patterns is not None:
        return _matching(patterns, names)
    if _is_function(mask):
        if _wants_path(mask):
            leaves = jax.tree.leaves(tree)
            return [
                _flag(f"What the mask answers for {name!r}", mask(name, x))
                for name, x in zip(names, leaves, strict=True)
            ]
        mask = mask(tree)
    return [
        _flag(f"The mask of {name!r}", flag)
        for name, flag in zip(names, _flags(mask, tree, names), strict=True)
    ]


def reason(mask: Any, name: str) -> str:
    """Why a mask means a parameter of this name or does not, in words."""
    patterns = patterns_of(mask)
    if patterns is not None:
        excluding = [p for p in patterns if p.startswith("!") and re.search(p[1:], name)]
        wanted = [p for p in patterns if not p.startswith("!")]
        found = [p for p in wanted if re.search(p, name)]
        if excluding or found:
            return f"matches {(excluding or found)[0].removeprefix('!')!r}"
        return f"matches no {' or '.join(map(repr, wanted))}" if wanted else "matches no pattern"
    if hasattr(mask, "reason"):
        return mask.reason(name)
    said = getattr(mask, "__name__", "")
    return f"the mask {said} says so" if said.isidentifier() else "the mask says so"


@dataclass(frozen=True)
class Unlike:
    """The mask of what has no name like this. Unlike a pattern, it need not be found anywhere."""

    pattern: str

    def __call__(self, path: str, leaf: object) -> bool:
        del leaf  # the name is all that is asked
        return re.search(self.pattern, path) is None

    def reason(self, name: str) -> str:
        found = re.search(self.pattern, name)
        return "no such name" if found is None else f"{found[0].strip('/._')!r} in its name"


@dataclass(frozen=True)
class Both:
    """The mask of what is in two masks, or in the first and not, as `wanted` says, in the other."""

    mask: Any
    other: Any
    wanted: bool = True

    def reason(self, name: str) -> str:
        """That of the mask with the patterns, where one has some."""
        told = [x for x in (self.mask, self.other) if patterns_of(x) or hasattr(x, "reason")]
        return reason(told[0] if told else self.mask, name)

    def __call__(self, params: Params) -> Params:
        pairs = zip(selected(self.mask, params), selected(self.other, params), strict=True)
        flags = [one and other is self.wanted for one, other in pairs]
        return jax.tree.unflatten(jax.tree.structure(params), flags)


def _is_function(mask: Any) -> bool:
    """Whether a mask is to be called; an Equinox module of bools may have a `__call__` too."""
    return callable(mask) and jax.tree_util.all_leaves([mask])


def patterns_of(mask: Any) -> list[str] | None:
    """The regular expressions that a mask is; None where it is something else."""
    if isinstance(mask, str):
        return [mask]
    if isinstance(mask, list | tuple) and mask and all(isinstance(each, str) for each in mask):
        return [str(each) for each in mask]
    return None


def _matching(patterns: Sequence[str], names: list[str]) -> list[bool]:
    wanted = [p for p in patterns if not p.startswith("!")]
    excluded = [p[1:] for p in patterns if p.startswith("!")]
    for pattern in [*wanted, *excluded]:
        if names and not any(re.search(pattern, name) for name in names):
            raise ValueError(
                f"The mask's pattern {pattern!r} matches no parameter. The parameters are: "
                f"{some(names, 20)}."
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


def _flags(mask: Any, tree: Params, names: list[str]) -> list[Any]:
    """The flag of each leaf of `tree`, of which `mask` is a prefix or shares the paths."""
    flags: list[Any] = []
    try:
        jax.tree.map(
            lambda flag, part: flags.extend([flag] * len(jax.tree.leaves(part))), mask, tree
        )
    except ValueError:
        # Flax NNX wraps leaves before `init` only, so that the trees differ where the paths agree.
        return _flags_by_name(mask, names)
    return flags


def _flags_by_name(mask: Any, names: list[str]) -> list[Any]:
    flags = {path_name(path): flag for path, flag in jax.tree_util.tree_leaves_with_path(mask)}
    owners = {name: [n for n in _prefixes(name) if n in flags][:1] for name in names}
    missing = [name for name in names if not owners[name]]
    unused = [name for name in flags if [name] not in owners.values()]
    if missing or unused:
        raise ValueError(
            "The mask's tree does not fit the parameters'. Parameters without a flag: "
            f"{some(missing)}. Flags without a parameter: {some(unused)}. Give a bool for every "
            "parameter, or for every branch of them; or a pattern that is searched in their paths."
        )
    return [flags[owners[name][0]] for name in names]


def _prefixes(name: str) -> list[str]:
    """`a/b`: itself, then the branches it is on."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]


def some(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _flag(where: str, flag: Any) -> bool:
    if isinstance(flag, jax.core.Tracer):
        raise TypeError(
            f"{where} must be known before the step runs, but it is traced: {flag!r}. Use Python "
            "bools, or NumPy for what they are computed from."
        )
    if isinstance(flag, bool | np.bool_):
        return bool(flag)
    if isinstance(flag, np.ndarray | jax.Array) and flag.dtype == bool and not flag.ndim:
        return bool(flag)
    raise TypeError(f"{where} must be True or False, got {flag!r}.")
