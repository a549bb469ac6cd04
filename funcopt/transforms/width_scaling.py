"""What the maximal update parametrization says of the parameters of a model, in one record.

Yang et al., 2022 (https://arxiv.org/abs/2203.03466); the equations are in `widths`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from optax import Params

from ..core.paths import path_names, some
from .factors_by_pattern import factors_by_pattern
from .widths import Kind, Widths


@dataclass(frozen=True)
class WidthScaling:
    """What muP says of each parameter, in order: `funcopt.mup(params, base_params)` makes one.

    Args:
        widths: how each parameter grows.
        rule: `"adam"`, `"sgd"` or `"muon"`.
        divides: whether the model divides its outputs.
    """

    widths: tuple[Widths, ...]
    rule: str
    divides: bool

    @property
    def rates(self) -> dict[str, float]:
        """Factors of the learning rate by patterns, for `scale_by_path`; others are 1."""
        rates = {each.path: each.rate(self.rule, self.divides) for each in self.widths}
        return factors_by_pattern(rates)

    @property
    def initial(self) -> dict[str, float]:
        """Factors of initial values by patterns, those that are not 1."""
        return factors_by_pattern({each.path: each.initial(self.divides) for each in self.widths})

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each parameter is: `"fixed"`, `"input"`, `"hidden"` or `"output"`."""
        return {each.path: each.kind for each in self.widths}

    def start(self, params: Params) -> Params:
        """Initial parameters, whose variances were one over the number of inputs, as muP has them.

        Raises:
            ValueError: these are other parameters.
        """
        leaves, structure = jax.tree.flatten(params)
        check_paths(path_names(params), [each.path for each in self.widths])
        factors = (each.initial(self.divides) for each in self.widths)
        return structure.unflatten([_times(x, f) for x, f in zip(leaves, factors, strict=True)])


def _times(x: jax.Array, factor: float) -> jax.Array:
    return x if factor == 1 else (x * jnp.asarray(factor, jnp.result_type(x))).astype(x.dtype)


def check_paths(names: list[str], expected: list[str]) -> None:
    """Refuse parameters of another model than the base is of."""
    if sorted(names) != sorted(expected):
        missing = [name for name in expected if name not in set(names)]
        surplus = [name for name in names if name not in set(expected)]
        raise ValueError(
            f"mup: params and base_params are different models. Only in the base: {some(missing)}. "
            f"Only in params: {some(surplus)}. Expected the same paths in both."
        )
