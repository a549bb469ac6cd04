"""Scion: steps to the edge of a ball: spectral for matrices, of the root mean square for the rest.

    trace ← b1 trace + (1 − b1) g                      mu in place of trace for what is no matrix
    u = radius √(outputs / inputs) O                    O ≈ U Vᵀ, where trace = U S Vᵀ
    u = otherwise_radius mu / (RMS(mu) + eps)           of what is no hidden matrix
    x ← x − learning_rate (u + weight_decay x)

Pethick et al., 2025 (https://arxiv.org/abs/2502.07529): with weight_decay = 1, an average of x
and of the point of the ball that is best for the linear part of the loss, as Frank and Wolfe's;
with 0 it is unconstrained Scion. The authors' `momentum` is 1 − b1.
"""

from ..core.arguments import (
    DecayRate,
    DType,
    NonNegative,
    OptionalNonNegative,
    Rate,
    Steps,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise, optimizer
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from ..transforms.scale import Scale
from .for_hidden import hidden_matrices
from .matrix_scale import MatrixScale
from .mean_gradient import MeanGradient
from .ns_coefficients import KELLER, NamedCoefficients
from .orthogonalize import orthogonalize
from .unit_rms import UnitRms

SCION = Paper(
    "Pethick, Thomas and Xie, Wanyun and Antonakopoulos, Kimon and Zhu, Zhenyu and "
    "Silveti-Falls, Antonio and Cevher, Volkan",
    "Training Deep Learning Models with Norm-Constrained LMOs",
    2025,
    "https://arxiv.org/abs/2502.07529",
    booktitle=ICML,
)


@transformation(paper=SCION)
def scion(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    radius: NonNegative = 1.0,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 1.0,
    mask: Mask = None,
    *,
    ns_coeffs: NamedCoefficients = KELLER,
    ns_steps: Steps = 5,
    ns_eps: NonNegative = 1e-7,
    ns_dtype: DType = None,
    otherwise: Otherwise = None,
    otherwise_radius: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """Scion: each step is the best within a ball of a norm that suits the layer.

    Args:
        learning_rate: the weight of the step in an average with the parameter, in [0, 1] where that
            is to stay in its ball; or a schedule, usually one that ends at 0.
        b1: decay of the mean gradient, in [0, 1).
        radius: of the ball in which hidden matrices stay, at least 0: the largest root mean square
            of outputs for inputs of 1. Authors' for transformers: 50.
        eps: added to the root mean square, at least 0.
        weight_decay: 1 to stay in the ball, 0 for unconstrained steps; at least 0, or one of
            `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`.
        ns_eps: added to the norm that the mean gradient is divided by, at least 0.
        otherwise: the rules for what is no hidden matrix, one or several, with their own scale;
            None for the mean gradient over its root mean square.
        otherwise_radius: of the ball for these, at least 0; None for `radius`.
        hidden, matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.scion(0.1, radius=2.0), {"bias": jnp.zeros(2)}
    >>> tx.update({"bias": jnp.array([1.0, -7.0])}, tx.init(params), params)[0]["bias"]
    Array([-0.04,  0.28], dtype=float32)

    Source: https://arxiv.org/abs/2502.07529, and the authors' program with `norm="Auto"`, where the
    steps of a k x k convolution are √(k²) times smaller than those of one matrix.
    """
    decay = masked(mask, decaying(weight_decay))
    length = Scale(radius if otherwise_radius is None else otherwise_radius)
    rest = (UnitRms(b1, eps), length) if otherwise is None else otherwise
    assert isinstance(rest, tuple)
    return optimizer(
        MeanGradient(b1),
        orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype),
        MatrixScale("unit_rms"),
        Scale(radius),
        decay,
        learning_rate=learning_rate,
        otherwise=(*rest, decay),
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden_matrices if hidden is None else hidden,
        storage=storage,
    )
