"""nanochat's Muon: equal rows before, a set norm and NorMuon's pace after, and cautious decay.

    M = the mean gradient of `muon`, one step ahead
    M ← M with ‖M‖ / √outputs as the norm of each output    MuonEq, https://arxiv.org/abs/2603.28254
    O ≈ U Vᵀ, where M = U S Vᵀ                              Polar Express
    O ← √min(inputs, outputs) O / ‖O‖                       Muon+, https://arxiv.org/abs/2602.21545
    side_nu ← b2 side_nu + (1 − b2) mean of O²              over the shorter side
    D = O / √max(side_nu, eps)
    u = √max(1, outputs / inputs) ((‖O‖ / ‖D‖) D + weight_decay x where D x ≥ 0)

The chain of Karpathy's nanochat (https://github.com/karpathy/nanochat, nanochat/optim.py). Each
line is a rule, and any of them may stand in `optimizer`. The factor of the shape is of decay, too.
"""

from functools import partial

from ..core.arguments import DecayRate, DType, NonNegative, OptionalNonNegative, Rate, Steps
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import masked
from ..core.optimizer import Otherwise, optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from ..transforms.decay_rules import WeightDecay, at_rate, decaying
from ..transforms.scale import Scale
from .for_hidden import hidden_matrices
from .longer_side import CautiousMatrixDecay, NormalizeLongerSide
from .matrix_norms import EqualOutputs, PolarNorm
from .matrix_scale import MatrixScale, Scaling
from .mean_gradient import MeanGradient
from .ns_coefficients import NamedCoefficients
from .orthogonalize import orthogonalize
from .scale_by_adam import Adam

NANOCHAT = Paper(
    "Karpathy, Andrej",
    "nanochat: The best ChatGPT that $100 can buy",
    2025,
    "https://github.com/karpathy/nanochat",
    howpublished="github.com/karpathy/nanochat",
)


@transformation(paper=NANOCHAT)
def nanochat_muon(
    learning_rate: Rate,
    beta: DecayRate = 0.95,
    b2: DecayRate = 0.9,
    eps: NonNegative = 1e-10,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    ns_coeffs: NamedCoefficients = "polar_express_1.01",
    ns_steps: Steps = 5,
    ns_eps: NonNegative = 1e-6,
    ns_dtype: DType = None,
    scaling: Scaling = "keller",
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """nanochat's Muon, with rows of equal norm, Polar Express and NorMuon's second moment.

    Args:
        learning_rate: of the matrices, at least 0, or a schedule; 0.02 is nanochat's.
        beta: decay of the mean gradient, in [0, 1), which looks one step ahead.
        b2: decay of the mean squared step of each slice of the longer side, in [0, 1).
        eps: below which these do not fall, nor the norm that the outcome is divided by, at least 0.
        weight_decay: of matrices where step and parameter have one sign, times the factor of the
            shape; of all else as in `muon`; at least 0. Or one of `funcopt.decays`, of all.
        mask: which parameters decay, see `add_decayed_weights`.
        ns_coeffs, ns_steps, ns_dtype: how a matrix is made orthogonal, as in `muon`.
        ns_eps: added to the norm that the mean gradient is divided by, at least 0; nanochat adds
            1e-6 to 1.01 times the norm.
        scaling: what the outcome is multiplied by, as in `muon`.
        otherwise, otherwise_rate, hidden, matrices, layer_axis: as in `muon`. The rates, decays and
            averages of nanochat's embeddings, head and scalars are groups: see `partition`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.nanochat_muon(0.1), {"kernel": jnp.eye(2)}
    >>> grads = {"kernel": jnp.diag(jnp.array([3.0, 0.5]))}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> jnp.round(jnp.diag(updates["kernel"]), 3), state.side_nu["kernel"].shape
    (Array([-0.1, -0.1], dtype=float32), (1, 2))

    Source: https://github.com/karpathy/nanochat, nanochat/optim.py.
    """
    own = partial(CautiousMatrixDecay, scaling=scaling)
    decay, of_rest = (masked(mask, decaying(weight_decay, each)) for each in (own, Decay))
    adamw = (Adam(0.9, 0.95, 1e-10), of_rest)
    rest = adamw if otherwise is None else otherwise
    assert isinstance(rest, tuple)
    rate = 0.015 if otherwise_rate is None else otherwise_rate
    return optimizer(
        MeanGradient(beta, nesterov=True),
        EqualOutputs(),
        orthogonalize(ns_coeffs, ns_steps, ns_eps, ns_dtype),
        PolarNorm(),
        NormalizeLongerSide(b2, eps),
        MatrixScale(scaling),
        decay,
        learning_rate=learning_rate,
        otherwise=(*(at_rate(each, rate) for each in rest), Scale(rate)),
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden_matrices if hidden is None else hidden,
        storage=storage,
    )
