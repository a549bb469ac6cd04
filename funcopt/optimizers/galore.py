"""GaLore: Adam in the space of a few singular vectors of the gradient of each matrix.

    P ← the first `rank` singular vectors of G, each `update_proj_gap` steps
    g = Pᴴ G,  u = scale P Adam(g)          or G P and Adam(g) Pᴴ, see `gradient_subspace`
    x ← x − learning_rate (u + weight_decay x)

Zhao et al., 2024 (https://arxiv.org/abs/2403.03507), Algorithms 1 and 2. What is no matrix goes
through the same Adam, all of it.
"""

from typing import Annotated

from ..core.arguments import Choice, Length, NonNegative, Rate, Steps
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise, optimizer
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.rule import Rule
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from ..transforms.scale import Scale
from .gradient_subspace import FINDINGS, SIDES, Finding, GradientSubspace, SideName
from .in_basis import InBasis
from .scale_by_adam import Adam

GALORE = Paper(
    "Zhao, Jiawei and Zhang, Zhenyu and Chen, Beidi and Wang, Zhangyang and Anandkumar, Anima and "
    "Tian, Yuandong",
    "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection",
    2024,
    "https://arxiv.org/abs/2403.03507",
    booktitle=ICML,
)


def _base(where: str, x: object) -> Rule | None:
    if x is not None and not isinstance(x, Rule):
        raise TypeError(f"{where} must be a rule such as rules.Adam() or None, got {x!r}.")
    return x


@transformation(paper=GALORE)
def galore(
    learning_rate: Rate,
    rank: Length = 128,
    update_proj_gap: Steps = 200,
    scale: NonNegative = 1.0,
    base_optimizer: Annotated[Rule | None, _base] = None,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    side: Annotated[SideName, Choice(SIDES)] = "shorter",
    by: Annotated[Finding, Choice(FINDINGS)] = "svd",
    otherwise: Otherwise = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """GaLore: Adam in a space of few dimensions for each matrix, for a fraction of its memory.

    Of a matrix [m, n] with m ≤ n it remembers rank (2 n + m) numbers, with `side="longer"` rank
    (2 m + n), where Adam remembers 2 m n.

    Args:
        learning_rate: of all parameters, at least 0, or a schedule.
        rank: of the projected gradients, at least 1; the shorter side where that has less.
        update_proj_gap: how many steps a space is kept, at least 1.
        scale: what updates of matrices are multiplied by, at least 0; 0.25 is the authors'.
        base_optimizer: the rule for projected gradients, and for what is no matrix; None for Adam.
        weight_decay: of all parameters, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        side: which side of a matrix is projected: `"shorter"`, as in the paper, or `"longer"`, as
            in optax; of a square one it is that of the inputs.
        by: how singular vectors are found: `"svd"`, or `"eigh"` in a fraction of the time, to half
            of the digits.
        otherwise: the rules for what is no matrix, one or several; None for the same rule and
            decay.
        hidden: a mask of the parameters that may be matrices; None for all. The authors project
            those of attention and of feed-forward layers.
        matrices: which axes make a matrix of a leaf with more than two, as in `muon`.
        layer_axis: where layers are stacked in one leaf, as in `lift`; each is a matrix.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.galore(0.1, rank=1), {"kernel": jnp.zeros((2, 3))}
    >>> grads = {"kernel": jnp.array([[0.0, 3.0, 3.0], [0.5, 0.0, 0.0]])}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> updates["kernel"], state.basis_mu["kernel"].shape
    (Array([[-0.        , -0.1..., -0.1...],
           [-0.        , -0.        , -0.        ]], dtype=float32), (1, 3))

    Source: https://arxiv.org/abs/2403.03507, Algorithm 2.
    """
    inner = Adam() if base_optimizer is None else base_optimizer
    decay = masked(mask, decaying(weight_decay))
    return optimizer(
        InBasis(inner, GradientSubspace(rank, update_proj_gap, side, by)),
        Scale(scale),
        decay,
        learning_rate=learning_rate,
        otherwise=(inner, decay) if otherwise is None else otherwise,
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden,
        storage=storage,
    )
