"""PSGD Kron: gradients that two factors, fitted without an inverse, make white.

    u = P_l M P_rᵀ          with M the mean gradient and P those for which P_l G P_rᵀ is white

by steps of Q ← Q − μ / L (T − c I) Q for P = QᴴQ, which the author calls Q^½ E Q^1½: see
`rules.Whiten`. Li, 2018 (https://arxiv.org/abs/1512.04202) and 2024
(https://arxiv.org/abs/2402.11858), as in his program.
"""

from ..core.arguments import (
    DecayRate,
    Flag,
    Length,
    NonNegative,
    OptionalNonNegative,
    Rate,
    Seed,
    Steps,
    Threshold,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.optimizer import Otherwise
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay
from .for_hidden import for_hidden
from .scale_by_adam import Adam
from .whitening import Whiten

KRON = Paper(
    "Li, Xi-Lin",
    "Stochastic Hessian Fittings with Lie Groups",
    2024,
    "https://arxiv.org/abs/2402.11858",
)


@transformation(paper=KRON)
def kron(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    preconditioner_lr: NonNegative = 0.1,
    bound_decay: DecayRate = 0.9,
    damping: NonNegative = 1e-9,
    init_scale: OptionalNonNegative = None,
    max_size: Length = 8192,
    max_skew: Length = 1,
    precondition_frequency: Steps = 1,
    whiten_grad: Flag = True,
    clip_rms: Threshold = 2.0,
    clip_max: Threshold = 10.0,
    key: Seed = 0,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """PSGD Kron: mean gradients, whitened by two factors that are fitted, AdamW for the rest.

    A factor takes products of matrices alone: nothing is inverted or decomposed. The norms in its
    steps are found by random vectors, of the seed and the count: all leaves see the same ones.

    Args:
        learning_rate: about the root mean square of a step, at least 0, or a schedule; those that
            suit AdamW do, or smaller ones.
        b1: decay of the mean gradient, in [0, 1); over the first steps it is that of their mean.
        preconditioner_lr: how far a step of fitting goes, at least 0; 0.1 is the author's.
        bound_decay: decay of the bound that this is divided by, in [0, 1); 0.999 for gradients that
            are mostly 0.
        damping: what is added to gradients as noise, which bounds the factors, at least 0.
        init_scale: the first preconditioner is the identity times the square of this, at least 0;
            None for (mean |G|⁴ + damping⁴)^−⅛ of the first gradient of each matrix.
        max_size: a side that is longer than this has a diagonal factor, at least 1.
        max_skew: so has one whose square is more than this many times the elements of the matrix,
            an integer from 1 on: with 1, the longer of both.
        precondition_frequency: how many steps the factors are kept, at least 1.
        whiten_grad: whether gradients are to be white; else mean gradients, for which rates are
            larger by √((1 + b1) / (1 − b1)).
        clip_rms: the largest root mean square of a step, above which it is shortened, at least 0.
        clip_max: the largest magnitude of an element of it, at least 0.
        key: the seed, an integer from 0 to 2³¹ − 1.
        weight_decay, mask, hidden, matrices, layer_axis: as in `muon`.
        otherwise, otherwise_rate: as in `muon`; None for `Adam(b1)` and the same decay, and for 1.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.kron(0.1), {"kernel": jnp.zeros((2, 2))}
    >>> grads, state = {"kernel": 1e-3 * jnp.diag(jnp.array([3.0, 0.5]))}, tx.init(params)
    >>> for _ in range(40):
    ...     updates, state = tx.update(grads, state, params)
    >>> jnp.round(jnp.abs(updates["kernel"]), 2)  # white: of any size of gradients, all are of one
    Array([[0.14, 0.  ],
           [0.  , 0.14]], dtype=float32)

    Source: https://arxiv.org/abs/2402.11858, and the author's program.
    """
    size = (max_size, max_skew, precondition_frequency)
    fit = (preconditioner_lr, bound_decay, damping, init_scale)
    return for_hidden(
        Whiten(b1, *fit, *size, whiten_grad, clip_rms, clip_max, key),
        rest=Adam(b1),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
