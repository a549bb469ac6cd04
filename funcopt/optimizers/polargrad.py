"""PolarGrad: Muon whose steps are as long as the mean gradient is large, in its nuclear norm.

    M ← beta M + (1 − beta) G
    O ≈ U Vᵀ, where M = U S Vᵀ
    u = ⟨O, M⟩ O                    ⟨O, M⟩ ≈ Σ S

Lau, Long & Su, 2025 (https://arxiv.org/abs/2505.21799), with momentum first: steepest descent in
the spectral norm, which ends at a minimum with a constant rate where Muon goes to and fro. Its
learning rate depends on the scale of the loss, as that of gradient descent does.
"""

from ..core.arguments import (
    DecayRate,
    DType,
    Flag,
    NonNegative,
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
from .ns_coefficients import NamedCoefficients
from .orthogonalize import orthogonalize

POLARGRAD = Paper(
    "Lau, Tim Tsz-Kit and Long, Qi and Su, Weijie",
    "PolarGrad: A Class of Matrix-Gradient Optimizers from a Unifying Preconditioning Perspective",
    2025,
    "https://arxiv.org/abs/2505.21799",
)


@transformation(paper=POLARGRAD)
def polargrad(
    learning_rate: Rate,
    beta: DecayRate = 0.95,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    nesterov: Flag = False,
    ns_coeffs: NamedCoefficients = "polar_express_8",
    ns_steps: Steps = 8,
    ns_eps: NonNegative = 1e-7,
    ns_dtype: DType = None,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """PolarGrad: orthogonalized momentum times its nuclear norm, AdamW for all other parameters.

    Args:
        learning_rate: of the matrices, at least 0, or a schedule: a number for the scale of the
            loss.
        beta: decay of the mean gradient, in [0, 1).
        weight_decay, mask, nesterov: as in `muon`.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`. The defaults
            bring all singular values to 1, as the authors' decomposition does.
        ns_eps: added to the norm that the mean gradient is divided by, at least 0.
        otherwise_rate: the learning rate of what is no hidden matrix is that of the matrices times
            this, at least 0; None for 1. AdamW's steps do not depend on the scale of the loss.
        otherwise, hidden, matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.polargrad(0.1, beta=0.0), {"kernel": jnp.eye(2)}
    >>> grads = {"kernel": jnp.diag(jnp.array([3.0, 1.0]))}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> jnp.round(jnp.diag(updates["kernel"]), 3)
    Array([-0.4, -0.4], dtype=float32)

    Source: https://arxiv.org/abs/2505.21799, and the authors' program with `polar_first=False`.
    """
    return for_hidden(
        MeanGradient(beta, nesterov),
        orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype, nuclear_norm=True),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
