"""KL-Shampoo: whiten the mean gradient by the covariances of both sides of each matrix.

    trace ← b1 trace + (1 − b1) Lᴴ G R      L, R, a, b as `kl_eigenbasis`, of decay b2
    u = L (trace_ij / (√(a_i b_j) + eps)) Rᴴ
    x ← x − learning_rate u
    x ← x − learning_rate weight_decay x

Lin et al., 2026 (https://arxiv.org/abs/2509.03378), as in the authors' program, whose first step
only makes the basis. Of gradients of zero mean it is what divides them by their deviation in every
direction; Adam is not needed for the length of its steps. What is no matrix goes through Adam.
"""

from ..core.arguments import DecayRate, Length, NonNegative, OptionalNonNegative, Rate, Steps
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise
from ..core.paper import ICLR, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .for_hidden import with_rest
from .in_basis import InBasis
from .kl_eigenbasis import KLEigenbasis
from .late_adam import DecayAfterStep, LateAdam, LateMean

KL_SHAMPOO = Paper(
    "Lin, Wu and Lowe, Scott C. and Dangel, Felix and Eschenhagen, Runa and Xu, Zikun and "
    "Grosse, Roger B.",
    "Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization",
    2026,
    "https://arxiv.org/abs/2509.03378",
    booktitle=ICLR,
)


@transformation(paper=KL_SHAMPOO)
def kl_shampoo(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.98,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 0.01,
    mask: Mask = None,
    *,
    precondition_frequency: Steps = 10,
    max_precond_dim: Length = 10000,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """KL-Shampoo: the mean gradient, whitened by the covariances of both sides of each matrix.

    Of a matrix [m, n] it remembers m n + 2 (m² + n²) + m + n numbers. KL-SOAP, which is Adam in the
    same bases, is `soap(kl=True)`.

    Args:
        learning_rate: about the length of a step in each element, at least 0, or a schedule; 0.0001
            is the authors'.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the covariances and of their eigenvalues, in [0, 1).
        eps: added to the root, at least 0.
        weight_decay: of all parameters, after each step, at least 0, or one of `funcopt.decays`; it
            goes through their learning rates.
        mask: which parameters decay, see `add_decayed_weights`.
        precondition_frequency: how many steps a basis is kept, at least 1.
        max_precond_dim: a side that is longer than this has no covariance, at least 1.
        otherwise: the rules for what is no matrix, one or several; None for Adam and the same
            decay.
        otherwise_rate: the learning rate of these is that of the matrices times this, at least 0;
            None for 1.
        hidden: a mask of the parameters that may be matrices; None for all.
        matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.kl_shampoo(0.01), {"kernel": jnp.zeros((2, 2))}
    >>> grads, state = {"kernel": jnp.array([[0.0, 3.0], [0.5, 0.0]])}, tx.init(params)
    >>> for _ in range(2):
    ...     params, state = funcopt.step(tx, grads, state, params)
    >>> jnp.round(params["kernel"], 3)
    Array([[ 0.   , -0.03 ],
           [-0.005,  0.   ]], dtype=float32)

    Source: https://arxiv.org/abs/2509.03378, and the authors' program.
    """
    decay = masked(mask, decaying(weight_decay, DecayAfterStep))
    basis = KLEigenbasis(b2, precondition_frequency, max_precond_dim, whitens=True, eps=eps)
    return with_rest(
        InBasis(LateMean(b1), basis),
        decay,
        rest=(LateAdam(b1, b2, eps), decay),
        learning_rate=learning_rate,
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
