"""Layer-wise learning rates for fine-tuning: the deeper a layer lies, the less it moves.

    u ← decayᵏ u      k = 0 for the head, 1 for the last layer, ..., layers + 1 for embeddings

Howard & Ruder, 2018, section 3.2 (https://arxiv.org/abs/1801.06146), who call it discriminative
fine-tuning, with 1 / 2.6.
"""

import re
from typing import Annotated

import numpy as np
from jax.typing import ArrayLike
from optax import Params

from ..core.arguments import Length, Numeric, Within
from ..core.by_path import ByPath
from ..core.leaf import LayerAxis, Leaf, described
from ..core.paper import Paper
from ..core.paths import some
from ..core.transformation import transformation

ULMFIT = Paper(
    "Howard, Jeremy and Ruder, Sebastian",
    "Universal Language Model Fine-tuning for Text Classification",
    2018,
    "https://arxiv.org/abs/1801.06146",
    booktitle="Annual Meeting of the Association for Computational Linguistics",
)


def _pattern(where: str, x: object) -> str:
    try:
        assert isinstance(x, str)
        re.compile(x)
    except (AssertionError, re.error) as error:
        raise ValueError(f"{where} must be a regular expression, got {x!r}: {error}.") from error
    return x


Pattern = Annotated[str, _pattern]
UnitInterval = Annotated[Numeric, Within(0, 1, "(]", schedule=False)]


@transformation(paper=ULMFIT)
def layerwise_decay(
    decay: UnitInterval,
    layers: Length,
    *,
    layer: Pattern = r"(?:^|/)(?:\w*(?:block|layer|encoder|h)s?_?)/?(\d+)(?:/|$)",
    embedding: Pattern = r"(?i)embed|token|patch|cls|(?:^|[/_])w[tp]e(?:[/_]|$)",
    layer_axis: LayerAxis = None,
):
    """Layer-wise learning rate decay: the earlier a layer, the smaller its rate.

    For fine-tuning, after an optimizer: `chain(adamw(1e-3), layerwise_decay(0.75, layers=12))`.
    Layer i, counted from 0, moves decay^(layers − i) times as fast as the head.

    Args:
        decay: the ratio of the rates of neighbouring layers, in (0, 1].
        layers: how many there are.
        layer: a regular expression whose first group is the number of the layer, searched in the
            path: `"blocks/3/"`, `"layer_3/"`, `"h/3/"`.
        embedding: one that is found in the paths of what lies before the first layer.
        layer_axis: where layers are stacked in one leaf, as in `lift`; those need no number.

    Raises:
        ValueError: an argument is out of its range; at `init` and `update`, no parameter is of a
            layer, a number is not below `layers`, or a stack has another length.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.sgd(1.0), funcopt.layerwise_decay(0.5, layers=2))
    >>> names = ("embedding", "blocks/0/w", "blocks/1/w", "head")
    >>> grads = {name: jnp.ones(()) for name in names}
    >>> updates, _ = tx.update(grads, tx.init(grads))
    >>> [float(updates[name]) for name in names]
    [-0.125, -0.25, -0.5, -1.0]

    Source: https://arxiv.org/abs/1801.06146, section 3.2.
    """

    count = int(layers)

    def of_leaf(leaf: Leaf) -> ArrayLike:
        if leaf.stacked:
            (axis,) = leaf.stacked
            if leaf.shape[axis] != layers:
                raise ValueError(
                    f"layerwise_decay: {leaf.path!r} of shape {leaf.shape} has "
                    f"{leaf.shape[axis]} layers along the axis {axis}, expected layers={layers}."
                )
            beside = [1] * len(leaf.shape)
            beside[axis] = count
            return decay ** np.arange(count, 0, -1).reshape(beside)
        found = re.search(layer, leaf.path)
        if found is None:
            return decay ** (layers + 1) if re.search(embedding, leaf.path) else 1.0
        number = int(found[1])
        if number >= layers:
            raise ValueError(
                f"layerwise_decay: {leaf.path!r} is of layer {number}, counted from 0, but "
                f"layers={layers}."
            )
        return decay ** (layers - number)

    def of_leaves(tree: Params) -> list[ArrayLike]:
        leaves = described(tree, layer_axis)
        if leaves and not any(leaf.stacked or re.search(layer, leaf.path) for leaf in leaves):
            raise ValueError(
                f"layerwise_decay: no parameter is of a layer: {layer!r} is found in none of "
                f"{some([leaf.path for leaf in leaves])}."
            )
        return [of_leaf(leaf) for leaf in leaves]

    return ByPath(of_leaves)
