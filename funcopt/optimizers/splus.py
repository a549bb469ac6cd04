"""SPlus: step by the sign of the mean gradient in the eigenbasis of each matrix, at a stable scale.

    ema ← b1 ema + (1 − b1) Lᴴ G R          L, R as `eigenbasis` by eigenvectors, of decay b2
    u = 2 / (m + n) (L sign(ema) Rᴴ + weight_decay x)
    x ← x − learning_rate u
    x̄ ← ema_rate x̄ + (1 − ema_rate) x       to evaluate at, divided by 1 − ema_rateᵗ

Frans et al., 2025 (https://arxiv.org/abs/2506.07254), as in the authors' program for optax. There
the mean is kept without a basis, which is the same, since it turns with the basis here. What is no
hidden matrix steps by the sign of its mean gradient without a basis, and by 0.001 in place of
2 / (m + n).
"""

from ..averaging.running_average import Average, AverageSlots
from ..core.arguments import DecayRate, Length, NonNegative, OptionalDecayRate, Rate, Steps
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage, part, part_without
from ..transforms.decay_rules import WeightDecay, decaying
from .eigenbasis import Eigenbasis
from .for_hidden import hidden_matrices, with_rest
from .in_basis import InBasis
from .matrix_scale import InverseSides
from .signum import Signum

SPLUS = Paper(
    "Frans, Kevin and Levine, Sergey and Abbeel, Pieter",
    "A Stable Whitening Optimizer for Efficient Neural Network Training",
    2025,
    "https://arxiv.org/abs/2506.07254",
)


@transformation(paper=SPLUS)
def splus(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    ema_rate: OptionalDecayRate = 0.999,
    inverse_every: Steps = 100,
    weight_decay: WeightDecay = 0.01,
    mask: Mask = None,
    *,
    max_dim: Length = 10000,
    otherwise: Otherwise = None,
    otherwise_rate: NonNegative = 0.001,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """SPlus: the sign of the mean gradient in the eigenbasis of each matrix, and an average.

    Evaluate at `funcopt.eval_params(tx, state, params)`.

    Args:
        learning_rate: at least 0, or a schedule; 0.1 is the authors', for whom one rate suits all
            widths.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squares of both sides, in [0, 1).
        ema_rate: decay of the average of parameters, in [0, 1); None keeps none.
        inverse_every: how many steps a basis is kept, at least 1.
        weight_decay: of all parameters, at least 0, or one of `funcopt.decays`. A number goes
            through their learning rates and the factor 2 / (m + n), a decay through the former.
        mask: which parameters decay, see `add_decayed_weights`.
        max_dim: a side that is longer than this keeps its own basis, at least 1.
        otherwise: the rules for what is no hidden matrix, one or several; None for the sign of the
            mean gradient, and the same decay.
        otherwise_rate: the learning rate of these, and of matrices with a side without a basis, is
            the other one times this, at least 0.
        hidden: a mask of the parameters that may be matrices; None as in `muon`.
        matrices: which axes make a matrix of a leaf with more than two, as in `muon`.
        layer_axis: where layers are stacked in one leaf, as in `lift`; each is a matrix with bases
            of its own.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.splus(0.1, weight_decay=0.0), {"kernel": jnp.eye(2)}
    >>> grads = {"kernel": jnp.array([[0.0, 3.0], [0.5, 0.0]])}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> updates["kernel"]
    Array([[-0.  , -0.05],
           [-0.05, -0.  ]], dtype=float32)

    Source: https://arxiv.org/abs/2506.07254, and the authors' program.
    """
    sign, decay = Signum(b1), masked(mask, decaying(weight_decay))
    stepping = with_rest(
        InBasis(sign, Eigenbasis(b2, inverse_every, max_dim, by="eigh")),
        decay,
        InverseSides(max_dim, otherwise_rate),
        rest=(sign, decay),
        learning_rate=learning_rate,
        otherwise=(otherwise, otherwise_rate),
        where=(hidden_matrices if hidden is None else hidden, matrices, layer_axis),
        storage=part_without(storage, AverageSlots),
    )
    if ema_rate is None:
        return stepping
    average = Average(ema_rate, None, 0, 1, debias=True, warmup=False)
    return LiftedTree(average, part(storage, AverageSlots), stepping)
