"""How slots are kept, told by the paths of their parameters."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, repr=False)
class ByPath:
    """The storage of the first pattern that is found in a parameter's path, else `otherwise`.

    Args:
        storages: a dict from regular expressions, which are searched in the path, to what any
            `storage=` takes but another `ByPath`. With a leading "!": where it is not found.
        otherwise: how the slots of all other parameters are kept; None for float32.

    Raises:
        ValueError: a pattern is no regular expression. `tx.init` raises it where one is found in no
            path.

    >>> import funcopt
    >>> storage = funcopt.storage.ByPath({"mlp": "4bit", "lm_head": None}, otherwise="8bit")
    >>> funcopt.adamw(1e-3, storage=storage)
    adamw(learning_rate=0.001, storage=ByPath({'mlp': '4bit', 'lm_head': None}, otherwise='8bit'))
    """

    storages: Any
    otherwise: Any = None
    strict: bool = True

    def __post_init__(self):
        pairs = self.storages.items() if isinstance(self.storages, Mapping) else self.storages
        told = isinstance(self.storages, Mapping | tuple) and all(map(_is_pair, pairs))
        if not told or not pairs:
            raise TypeError(
                "ByPath takes a dict from patterns to storages, such as "
                f'{{"embed": "float32"}}, got {self.storages!r}.'
            )
        object.__setattr__(self, "storages", tuple(pairs))
        for pattern in self.patterns:
            try:
                re.compile(pattern.removeprefix("!"))
            except (re.error, TypeError, AttributeError) as error:
                raise ValueError(
                    f"ByPath: {pattern!r} is not a regular expression: {error}."
                ) from error

    def __hash__(self) -> int:
        return hash(repr(self))  # storages by slot are dicts

    def __repr__(self) -> str:
        return f"ByPath({dict(self.storages)!r}, otherwise={self.otherwise!r})"

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(pattern for pattern, _ in self.storages)

    @property
    def all(self) -> tuple[Any, ...]:
        """Every storage that a slot may have."""
        return (*(storage for _, storage in self.storages), self.otherwise)

    def each(self, change: Callable[[Any], Any]) -> "ByPath":
        """The same patterns with changed storages."""
        pairs = tuple((pattern, change(storage)) for pattern, storage in self.storages)
        return replace(self, storages=pairs, otherwise=change(self.otherwise))

    def at(self, path: str) -> Any:
        """The storage of the slots of a parameter with this path."""
        found = (storage for pattern, storage in self.storages if _found(pattern, path))
        return next(found, self.otherwise)

    def check(self, where: str, paths: Iterable[str]) -> None:
        """Refuse a pattern that is found in no path."""
        names = list(paths)
        for pattern in self.patterns if names else ():
            if not any(_found(pattern, name) for name in names):
                shown = ", ".join(names[:20]) + f" and {len(names) - 20} more" * (len(names) > 20)
                raise ValueError(
                    f"{where}: the pattern {pattern!r} of storage matches no parameter. The "
                    f"parameters are: {shown}."
                )


def _is_pair(x: Any) -> bool:
    return isinstance(x, tuple) and len(x) == 2


def _found(pattern: str, path: str) -> bool:
    return (re.search(pattern.removeprefix("!"), path) is None) == pattern.startswith("!")
