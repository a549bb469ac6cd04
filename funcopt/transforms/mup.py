"""The maximal update parametrization (muP): rates that suit one width suit all.

    rate of Adam       1 / r_in of hidden and output weights, which are r_in times as wide as those
                       of a base model; 1 of the others
    initial values     1 / √r_in of output weights

Yang et al., 2022 (https://arxiv.org/abs/2203.03466); `widths` has the tables for all rules. Adam's
eps has to be far below all gradients, which shrink with the width, or there is none
(`adam(atan2=True)`): Everett et al., 2024 (https://arxiv.org/abs/2407.05872).
"""

import jax
import jax.numpy as jnp
from optax import Params

from ..core.arguments import Choice
from ..core.leaf import LayerAxis, Matrices, described
from ..core.paths import path_names
from .width_scaling import WidthScaling, check_paths
from .widths import widths_of

RULES = ("adam", "sgd", "muon")


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
    check_paths([leaf.path for leaf in leaves], list(base))
    widths = tuple(widths_of(leaf, base[leaf.path]) for leaf in leaves)
    return WidthScaling(widths, rule, bool(divides))
