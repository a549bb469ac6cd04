"""NorMuon: Muon whose outputs all learn at one pace, by the mean square of each one's step.

    O ≈ U Vᵀ of the mean gradient                        as in `muon`
    output_nu ← b2 output_nu + (1 − b2) mean of O²       over the inputs of each output
    D = O / (√output_nu + eps)
    u = √max(1, outputs / inputs) (‖O‖ / (‖D‖ + eps)) D

Li et al., 2025 (https://arxiv.org/abs/2510.05491), as in the authors' program, whose steps have the
norm of Muon's; Algorithm 1 of the paper instead gives them the root mean square of Adam's, 0.2. An
output is a row there, and a column of [inputs, outputs] here.
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
from .matrix_scale import MatrixScale, Scaling
from .mean_gradient import MeanGradient
from .normalize_outputs import NormalizeOutputs
from .ns_coefficients import KELLER, NamedCoefficients
from .orthogonalize import orthogonalize

NORMUON = Paper(
    "Li, Zichong and Liu, Liming and Liang, Chen and Chen, Weizhu and Zhao, Tuo",
    "NorMuon: Making Muon more efficient and scalable",
    2025,
    "https://arxiv.org/abs/2510.05491",
)


@transformation(paper=NORMUON)
def normuon(
    learning_rate: Rate,
    beta: DecayRate = 0.95,
    b2: DecayRate = 0.95,
    eps: NonNegative = 1e-10,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    nesterov: Flag = True,
    ns_coeffs: NamedCoefficients = KELLER,
    ns_steps: Steps = 5,
    ns_eps: NonNegative = 1e-7,
    ns_dtype: DType = None,
    scaling: Scaling = "keller",
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """NorMuon: Muon with a second moment for each output, AdamW for all other parameters.

    Args:
        learning_rate: of the matrices, at least 0, or a schedule; those that suit Muon do.
        beta: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared step of each output, in [0, 1).
        eps: added to the root of that, and to the norm of the outcome, at least 0.
        weight_decay, mask, nesterov: as in `muon`.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`.
        ns_eps: added to the norm that the mean gradient is divided by, at least 0.
        scaling: what the outcome is multiplied by, as in `muon`.
        otherwise, otherwise_rate, hidden, matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.normuon(0.1), {"kernel": jnp.eye(2)}
    >>> grads = {"kernel": jnp.diag(jnp.array([3.0, 0.5]))}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> jnp.diag(updates["kernel"]), state.output_nu["kernel"].shape
    (Array([-0.089..., -0.089...], dtype=float32), (1, 2))

    Source: https://arxiv.org/abs/2510.05491, and the authors' program.
    """
    return for_hidden(
        MeanGradient(beta, nesterov),
        orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype),
        NormalizeOutputs(b2, eps),
        MatrixScale(scaling),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
