"""The maximal update parametrization (muP): rates that suit one width suit all.

With r_in and r_out how much wider a parameter is than that of a base model, along its inputs and
along its outputs, of which those are counted that differ:

    differs along        rate of Adam    rate of SGD      initial values
    nothing              1               1                1
    its outputs          1               r_out            1             input weights, biases
    both                 1 / r_in        r_out / r_in     1             hidden weights
    its inputs           1 / r_in        1 / r_in         1 / √r_in     output weights
    its inputs           1               r_in             √r_in         where a model divides its
                                                                        outputs by r_in

The last line is Table 8 of Yang et al., 2022 (https://arxiv.org/abs/2203.03466), the one before it
Table 3, which means the same without a change of the model. Initial values are factors of those
whose variance is one over the number of inputs. Adam's eps has to be far below all gradients, which
shrink with the width, or there is none (`adam(atan2=True)`): Everett et al., 2024
(https://arxiv.org/abs/2407.05872). Hidden weights under Muon, at its scale √(outputs / inputs),
have 1, and the rest is Adam's: Bernstein, 2025
(https://jeremybernste.in/writing/deriving-muon).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from optax import Params

from ..core.arguments import Choice
from ..core.leaf import LayerAxis, Leaf, Matrices, described
from ..core.paths import path_names, some

Kind = Literal["fixed", "input", "hidden", "output"]
RULES = ("adam", "sgd", "muon")


@dataclass(frozen=True)
class Widths:
    """How one parameter grows: along its inputs, and along its outputs."""

    path: str
    inputs: float
    outputs: float

    @property
    def kind(self) -> Kind:
        if self.inputs == 1:
            return "fixed" if self.outputs == 1 else "input"
        return "output" if self.outputs == 1 else "hidden"

    def rate(self, rule: str, divides: bool) -> float:
        if self.kind == "output" and divides:
            return self.inputs if rule == "sgd" else 1.0
        if self.kind == "hidden" and rule == "muon":
            return 1.0
        return (self.outputs if rule == "sgd" else 1.0) / self.inputs

    def initial(self, divides: bool) -> float:
        root = math.sqrt(self.inputs)
        return 1.0 if self.kind != "output" else root if divides else 1 / root


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
        return by_pattern({each.path: each.rate(self.rule, self.divides) for each in self.widths})

    @property
    def initial(self) -> dict[str, float]:
        """Factors of initial values by patterns, those that are not 1."""
        return by_pattern({each.path: each.initial(self.divides) for each in self.widths})

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
        _check_names(path_names(params), [each.path for each in self.widths])
        factors = (each.initial(self.divides) for each in self.widths)
        return structure.unflatten([_times(x, f) for x, f in zip(leaves, factors, strict=True)])


def _times(x: jax.Array, factor: float) -> jax.Array:
    return x if factor == 1 else (x * jnp.asarray(factor, jnp.result_type(x))).astype(x.dtype)


def mup(
    params: Params,
    base_params: Params,
    rule: str = "adam",
    *,
    divides: bool = False,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
) -> WidthScaling:
    """muP: the factors by which rates that were tuned on a narrow model suit a wide one.

    The rates go into a chain, `chain(adam(1e-3), scale_by_path(mup(params, base).rates))`, and
    training begins at `mup(params, base).start(params)`. Whether a model is in muP is seen with
    `funcopt.lab.coordinate_check`.

    Args:
        params: the parameters of the model that is trained, or their shapes.
        base_params: those of the model that rates were tuned on, the same but for its width.
        rule: `"adam"` for all whose steps are about as long in each element whatever gradients are
            (Adam, Lion, sign_sgd), `"sgd"` for all whose steps are as long as gradients, `"muon"`
            for `muon(scaling="unit_rms")` and its like, whose steps of hidden matrices suit every
            width, with Adam for the others.
        divides: whether the model divides its outputs by how many times wider it is than the base.
        matrices: which axes are inputs and outputs, as in `lift`. Of two axes they are in this
            order, and of a kernel of a convolution the last two.
        layer_axis: where layers are stacked, as in `lift`: axes that are no width.

    Returns:
        A `WidthScaling`, of which `rates`, `initial`, `kinds` and `start` are used.

    Raises:
        ValueError: the trees have other paths or numbers of axes, no shape differs along a width
            that is known, or an argument is none of its choices.

    Decoupled weight decay is multiplied with the rates; to keep it as it is, let rates come before
    it: `chain(scale_by_adam(), scale_by_path(rates), add_decayed_weights(0.1), descend(1e-3))`.

    >>> import funcopt, jax.numpy as jnp
    >>> def shapes(width):
    ...     return {"in": jnp.ones((3, width)), "mid": jnp.ones((width, width)),
    ...             "out": jnp.ones((width, 2))}
    >>> found = funcopt.mup(shapes(256), shapes(64))
    >>> found.kinds
    {'in': 'input', 'mid': 'hidden', 'out': 'output'}
    >>> found.rates, found.initial
    ({'^(?:mid|out)$': 0.25}, {'^out$': 0.5})

    Source: https://arxiv.org/abs/2203.03466, Tables 3 and 8.
    """
    Choice(RULES)("mup: rule", rule)
    leaves = described(params, layer_axis, matrices)
    base = {
        name: jnp.shape(x)
        for name, x in zip(path_names(base_params), jax.tree.leaves(base_params), strict=True)
    }
    _check_names([leaf.path for leaf in leaves], list(base))
    return WidthScaling(
        tuple(_widths(leaf, base[leaf.path]) for leaf in leaves), rule, bool(divides)
    )


def _check_names(names: list[str], expected: list[str]) -> None:
    if sorted(names) != sorted(expected):
        missing = [name for name in expected if name not in set(names)]
        surplus = [name for name in names if name not in set(expected)]
        raise ValueError(
            f"mup: params and base_params are different models. Only in the base: {some(missing)}. "
            f"Only in params: {some(surplus)}. Expected the same paths in both."
        )


def _widths(leaf: Leaf, base: tuple[int, ...]) -> Widths:
    if len(base) != len(leaf.shape):
        raise ValueError(
            f"mup: {leaf.path!r} has the shape {leaf.shape}, and {base} in base_params; expected "
            "the same number of axes."
        )
    ratios = {
        axis: size / base[axis]
        for axis, size in enumerate(leaf.shape)
        if axis not in leaf.stacked and size != base[axis]
    }
    inputs, outputs = _axes(leaf)
    if not set(ratios) <= {*inputs, *outputs}:
        raise ValueError(
            f"mup: {leaf.path!r} of shape {leaf.shape} differs from the base's {base} along the "
            f"axes {tuple(ratios)}, and it is not known which of these are of inputs and which of "
            "outputs. Say so by matrices={pattern: (axes of the inputs, axes of the outputs)}, or "
            "by layer_axis= where they are layers."
        )
    grown = [math.prod(ratios.get(axis, 1.0) for axis in axes) for axes in (inputs, outputs)]
    return Widths(leaf.path, *grown)


def _axes(leaf: Leaf) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of inputs and outputs that may be widths."""
    if leaf.matrix is not None:
        return leaf.matrix
    rest = tuple(axis for axis in range(len(leaf.shape)) if axis not in leaf.stacked)
    return rest[-2:-1], rest[-1:]


def by_pattern(factors: Mapping[str, float]) -> dict[str, float]:
    """Factors by regular expressions that match whole paths, without those that are 1.

    Paths that differ in their numbers only are one where all of these have one factor.
    """
    families: dict[str, set[float]] = {}
    for path, factor in factors.items():
        families.setdefault(_family(path), set()).add(factor)
    found: dict[float, dict[str, None]] = {}
    for path, factor in factors.items():
        family = _family(path)
        same = len(families[family]) == 1
        if factor != 1:
            found.setdefault(factor, {})[family if same else re.escape(path)] = None
    patterns = {_either(paths): factor for factor, paths in found.items()}
    return patterns or {"": 1.0}


def _family(path: str) -> str:
    return re.sub(r"\d+", r"\\d+", re.escape(path))


def _either(paths: Iterable[str]) -> str:
    several = list(paths)
    return f"^{several[0]}$" if len(several) == 1 else f"^(?:{'|'.join(several)})$"
