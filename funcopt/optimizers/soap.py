"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

    mu ← b1 mu + (1 − b1) g,  nu ← b2 nu + (1 − b2) g²      g is G in the basis of `eigenbasis`
    u = √(1 − b2ˢ) / (1 − b1ˢ) mu / (√nu + eps)             s = t − 1, from the second step on
    x ← x − learning_rate u
    x ← x − learning_rate weight_decay x

Vyas et al., 2025, Algorithm 3 (https://arxiv.org/abs/2409.11321), as in the authors' program: the
first step only makes the basis, eps is added before the bias is corrected, and decay comes after
the step. What is no matrix goes through the same Adam without a basis. With the basis of
`kl_eigenbasis` it is KL-SOAP: Lin et al., 2026 (https://arxiv.org/abs/2509.03378).
"""

from ..core.arguments import (
    DecayRate,
    Flag,
    Length,
    NonNegative,
    OptionalDecayRate,
    OptionalNonNegative,
    Rate,
    Steps,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise
from ..core.paper import ICLR, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .eigenbasis import Eigenbasis
from .for_hidden import with_rest
from .in_basis import InBasis
from .kl_eigenbasis import KLEigenbasis
from .late_adam import DecayAfterStep, LateAdam

SOAP = Paper(
    "Vyas, Nikhil and Morwani, Depen and Zhao, Rosie and Kwun, Mujin and Shapira, Itai and "
    "Brandfonbrener, David and Janson, Lucas and Kakade, Sham",
    "SOAP: Improving and Stabilizing Shampoo using Adam",
    2025,
    "https://arxiv.org/abs/2409.11321",
    booktitle=ICLR,
)


@transformation(paper=SOAP)
def soap(
    learning_rate: Rate,
    b1: DecayRate = 0.95,
    b2: DecayRate = 0.95,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 0.01,
    mask: Mask = None,
    *,
    shampoo_beta: OptionalDecayRate = None,
    precondition_frequency: Steps = 10,
    max_precond_dim: Length = 10000,
    bias_correction: Flag = True,
    kl: Flag = False,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """SOAP: Adam in a basis that turns with the gradients of each matrix.

    Of a matrix [m, n] it remembers 2 (m n + m² + n²) numbers, Adam 2 m n; with `kl` m + n more.

    On a CPU that other programs use too, the threads of LAPACK wait for each other: there, set
    OPENBLAS_NUM_THREADS=1 before JAX is imported.

    Args:
        learning_rate: about the length of a step in each element, at least 0, or a schedule; 0.003
            is the authors'.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        weight_decay, mask: as in `muon`; decay comes after the step.
        shampoo_beta: decay of the mean squares of both sides, in [0, 1); None for `b2`.
        precondition_frequency: how many steps a basis is kept, at least 1.
        max_precond_dim: a side that is longer than this keeps its own basis, at least 1; with 1,
            all of them do, and SOAP is Adam.
        bias_correction: divide the moments by their total weight.
        kl: take the bases of KL-SOAP, where each side is weighed by the inverse of the other. Its
            authors' numbers are `soap(1e-4, 0.9, 0.98, kl=True, bias_correction=False)`.
        otherwise, otherwise_rate: as in `muon`; None for the same Adam and decay, and for 1.
        hidden, matrices, layer_axis: as in `muon`, but `hidden=None` is all. Layers have own bases.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.soap(0.1), {"kernel": jnp.eye(2)}
    >>> grads, state = {"kernel": jnp.array([[0.0, 3.0], [0.5, 0.0]])}, tx.init(params)
    >>> for _ in range(2):
    ...     params, state = funcopt.step(tx, grads, state, params)
    >>> jnp.round(params["kernel"], 3)
    Array([[ 0.999, -0.1  ],
           [-0.1  ,  0.999]], dtype=float32)

    Source: https://arxiv.org/abs/2409.11321, https://arxiv.org/abs/2509.03378, and their programs.
    """
    adam = LateAdam(b1, b2, eps, bias_correction)
    decay = masked(mask, decaying(weight_decay, DecayAfterStep))
    basis, beta = KLEigenbasis if kl else Eigenbasis, b2 if shampoo_beta is None else shampoo_beta
    return with_rest(
        InBasis(adam, basis(beta, precondition_frequency, max_precond_dim)),
        decay,
        rest=(adam, decay),
        learning_rate=learning_rate,
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
