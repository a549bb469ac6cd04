"""Learning rates that differ by parameter: each update times the factor of its path.

u ← f(path) u
"""

from collections.abc import Mapping
from typing import Annotated

from jax.typing import ArrayLike
from optax import Params

from ..core.arguments import Numeric, Within
from ..core.by_path import ByPath
from ..core.paths import path_names, selected
from ..core.transformation import transformation

FACTOR = Within(0, float("inf"), "[)", schedule=False)


def _factors(where: str, x: object) -> dict[str, Numeric]:
    if not isinstance(x, Mapping) or not x:
        raise TypeError(f"{where} must be a dict of numbers by pattern, got {x!r}.")
    return {pattern: FACTOR(f"{where}[{pattern!r}]", factor) for pattern, factor in x.items()}


FactorsByPath = Annotated[Mapping[str, Numeric], _factors]


@transformation
def scale_by_path(factors: FactorsByPath):
    """Learning rates that differ by parameter: each update times the factor of its path.

    After an optimizer it multiplies the learning rate of some parameters, their decoupled weight
    decay included: `chain(adamw(1e-3), scale_by_path({"embed": 0.1}))`.

    Args:
        factors: a dict from regular expressions, searched in the path, to numbers of at least 0;
            a parameter that none is found in has 1. With 0 it stays, but its slots are kept and
            move: `partition` with None keeps none.

    Raises:
        TypeError: `factors` is no dict of numbers.
        ValueError: a factor is negative, a pattern matches no parameter, or two match the same.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.sgd(1.0), funcopt.scale_by_path({"bias": 2.0}))
    >>> grads = {"kernel": jnp.ones(1), "bias": jnp.ones(1)}
    >>> tx.update(grads, tx.init(grads))[0]
    {'bias': Array([-2.], dtype=float32), 'kernel': Array([-1.], dtype=float32)}
    """

    def of_leaves(tree: Params) -> list[ArrayLike]:
        columns = {pattern: selected(pattern, tree) for pattern in factors}
        found: list[ArrayLike] = []
        for i, name in enumerate(path_names(tree)):
            mine = [pattern for pattern, flags in columns.items() if flags[i]]
            if len(mine) > 1:
                raise ValueError(
                    f"scale_by_path: {', '.join(map(repr, mine))} are all found in {name!r}. The "
                    "patterns must be such that one matches it at most."
                )
            found.append(factors[mine[0]] if mine else 1.0)
        return found

    return ByPath(of_leaves)
