"""Dion2: Muon of a part of each matrix, of the slices in which most momentum has gathered.

    trace ← trace + G
    K = those ⌈fraction · n⌉ of n slices of trace whose Σ |trace| is largest
    u = √(outputs / inputs) O in K, 0 elsewhere        O ≈ U Vᵀ, where trace[K] = U S Vᵀ
    trace[K] ← ef_decay trace[K]                       what is not used stays: error feedback

Ahn, Amsel & Langford, 2025 (https://arxiv.org/abs/2512.16928), as in the authors' program on one
device. A slice is all of one output where there are at most as many outputs as inputs, else all of
one input. With fraction = 1 this is Muon of a sum of gradients.
"""

from ..core.arguments import (
    DecayRate,
    DType,
    Fraction,
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
from .ns_coefficients import NamedCoefficients
from .orthogonalize import orthogonalize
from .orthogonalize_slices import OrthogonalizeSlices

DION2 = Paper(
    "Ahn, Kwangjun and Amsel, Noah and Langford, John",
    "Dion2: A Simple Method to Shrink Matrix in Muon",
    2025,
    "https://arxiv.org/abs/2512.16928",
)


@transformation(paper=DION2)
def dion2(
    learning_rate: Rate,
    fraction: Fraction = 0.25,
    ef_decay: DecayRate = 0.95,
    weight_decay: WeightDecay = 0.01,
    mask: Mask = None,
    *,
    ns_coeffs: NamedCoefficients = "polar_express_1.02",
    ns_steps: Steps = 5,
    ns_eps: NonNegative = 1e-8,
    ns_dtype: DType = None,
    scaling: Scaling = "unit_rms",
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """Dion2: Muon of the largest rows or columns of momentum, AdamW for all other parameters.

    Args:
        learning_rate: of the matrices, at least 0, or a schedule; 0.01 is the authors'.
        fraction: the part of rows or columns that moves at each step, in (0, 1]; no schedule, since
            products of matrices shrink with it.
        ef_decay: what the momentum of a row that has moved is multiplied by, in [0, 1).
        weight_decay, mask: as in `muon`; decay is of all rows at every step.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`.
        ns_eps: added to the norm that the chosen part is divided by, at least 0.
        scaling: what the orthogonal factor is multiplied by, by the shape of the whole matrix, as
            in `muon`.
        otherwise, otherwise_rate, hidden, matrices, layer_axis: as in `muon`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dion2(0.1, fraction=0.5, ef_decay=0.0), {"kernel": jnp.zeros((2, 2))}
    >>> grads, state = {"kernel": jnp.diag(jnp.array([3.0, 2.0]))}, tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(grads, state, params)
    ...     print(jnp.diag(updates["kernel"]) != 0, jnp.diag(state.trace["kernel"]))
    [ True False] [0. 2.]
    [False  True] [3. 0.]

    Source: https://arxiv.org/abs/2512.16928, and the authors' program.
    """
    return for_hidden(
        OrthogonalizeSlices(
            orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype), fraction, ef_decay
        ),
        MatrixScale(scaling),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
