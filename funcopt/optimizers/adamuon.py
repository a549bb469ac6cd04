"""AdaMuon: Muon of signs, whose elements are divided by their root-mean-square step.

    O ≈ U Vᵀ, where sign(M) = U S Vᵀ                   M is the mean gradient of `muon`
    polar_nu ← b2 polar_nu + (1 − b2) O²
    D = O / (√polar_nu + eps)
    u = 0.2 √(inputs · outputs) D / (‖D‖ + eps)         a root mean square of 0.2, as Adam's

Si, Zhang & Shen, 2025 (https://arxiv.org/abs/2507.11005), as in the authors' program, where b2 is
beta. Without the sign, as several libraries have it, small entries of M count less.
"""

from ..core.arguments import (
    DecayRate,
    DType,
    Flag,
    NonNegative,
    OptionalDecayRate,
    OptionalNonNegative,
    Rate,
    Steps,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.optimizer import Otherwise
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay
from .for_hidden import for_hidden
from .mean_gradient import MeanGradient
from .normalize_elements import NormalizeElements
from .ns_coefficients import KELLER, NamedCoefficients
from .orthogonalize import orthogonalize
from .sign_sgd import Sign

ADAMUON = Paper(
    "Si, Chongjie and Zhang, Debing and Shen, Wei",
    "AdaMuon: Adaptive Muon Optimizer",
    2025,
    "https://arxiv.org/abs/2507.11005",
)


@transformation(paper=ADAMUON)
def adamuon(
    learning_rate: Rate,
    beta: DecayRate = 0.95,
    b2: OptionalDecayRate = None,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 0.01,
    mask: Mask = None,
    *,
    nesterov: Flag = True,
    ns_coeffs: NamedCoefficients = KELLER,
    ns_steps: Steps = 5,
    ns_eps: NonNegative = 1e-7,
    ns_dtype: DType = None,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """AdaMuon: Muon with a second moment for each element, AdamW for all other parameters.

    Args:
        learning_rate: about the length of a step in each element times 5, at least 0, or a
            schedule; those that suit AdamW do.
        beta: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared step, in [0, 1); None for `beta`, as the authors have it.
        eps: added to the root of that, and to the norm of the outcome, at least 0.
        weight_decay, mask, nesterov: as in `muon`.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`.
        ns_eps: added to the norm that the matrix of signs is divided by, at least 0.
        otherwise_rate: the learning rate of what is no hidden matrix is that of the matrices times
            this, at least 0; None for 1.
        otherwise, hidden, matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adamuon(0.1, weight_decay=0.0), {"kernel": jnp.zeros((2, 2))}
    >>> grads = {"kernel": jnp.array([[3.0, 0.5], [0.5, -1.0]])}
    >>> tx.update(grads, tx.init(params), params)[0]["kernel"]
    Array([[-0.02, -0.02],
           [-0.02,  0.02]], dtype=float32)

    Source: https://arxiv.org/abs/2507.11005, and the authors' program.
    """
    return for_hidden(
        MeanGradient(beta, nesterov),
        Sign(),
        orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype),
        NormalizeElements(beta if b2 is None else b2, eps),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
