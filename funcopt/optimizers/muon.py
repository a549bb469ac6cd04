"""Muon: step hidden matrices by their mean gradient, with all of its singular values made equal.

    trace ← beta trace + (1 − beta) G
    M = beta trace + (1 − beta) G           Nesterov; else M = trace
    O ≈ U Vᵀ, where M = U S Vᵀ              by `ns_steps` of Newton and Schulz
    u = √max(1, outputs / inputs) O

Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/). There a matrix is [outputs,
inputs], as in PyTorch, and the factor is of rows over columns; here it is [inputs, outputs], as in
JAX's libraries. Embeddings, output heads and what is no matrix go through AdamW.
"""

from ..core.arguments import DecayRate, DType, Flag, NonNegative, OptionalNonNegative, Rate, Steps
from ..core.leaf import LayerAxis, Matrices
from ..core.optimizer import Otherwise
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay
from .for_hidden import for_hidden
from .matrix_scale import Adjust, MatrixScale, Scaling, as_adjusted
from .mean_gradient import MeanGradient
from .ns_coefficients import KELLER, NamedCoefficients
from .orthogonalize import orthogonalize

MUON = Paper(
    "Jordan, Keller and Jin, Yuchen and Boza, Vlado and You, Jiacheng and Cesista, Franz and "
    "Newhouse, Laker and Bernstein, Jeremy",
    "Muon: An Optimizer for Hidden Layers in Neural Networks",
    2024,
    "https://kellerjordan.github.io/posts/muon/",
    howpublished="kellerjordan.github.io",
)


@transformation(paper=MUON)
def muon(
    learning_rate: Rate,
    ns_coeffs: NamedCoefficients = KELLER,
    ns_steps: Steps = 5,
    beta: DecayRate = 0.95,
    eps: NonNegative = 1e-7,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    nesterov: Flag = True,
    scaling: Scaling = "keller",
    adjust: Adjust = None,
    ns_dtype: DType = None,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """Muon: orthogonalized momentum for hidden matrices, AdamW for all other parameters.

    Args:
        learning_rate: of the matrices, at least 0, or a schedule. 0.02 is a usual one; with
            `scaling="moonlight"`, one that suits AdamW.
        ns_coeffs: (a, b, c) of the polynomial a s + b s³ + c s⁵ that each step applies to all
            singular values, or such a triple for each step, or the name of a set: "keller",
            "quintic", "polar_express_1.02", "polar_express_1.01" and "cans" are for 5 steps,
            "polar_express_8" for 8, "deepseek" for 10. Those of "keller" lead singular values to
            between 0.5 and 1.2, those of "quintic" most of them to between 0.98 and 1.03,
            "polar_express_1.02" small ones quickly, and the last two all of them to 1.
        ns_steps: how often, at least once.
        beta: decay of the mean gradient, in [0, 1).
        eps: added to the norm that the mean gradient is divided by, at least 0.
        weight_decay: of all, through their learning rates; at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        nesterov: look ahead by one step of momentum.
        scaling: what the orthogonal factor is multiplied by: √max(1, outputs / inputs) for
            "keller", 0.2 √max(inputs, outputs) for "moonlight", √(outputs / inputs) for "unit_rms",
            whose rates suit every width, √max(inputs, outputs) for "spectral".
        adjust: the same as PyTorch has it: "original" is "keller", "match_rms_adamw" "moonlight".
        ns_dtype: the dtype of the matrices that each step multiplies; their sums are float32.
            None: bfloat16 on accelerators, float32 on a CPU, and float64 for parameters in float64.
        otherwise: the rules for what is no hidden matrix, one or several; None for
            `Adam(0.9, 0.95, eps=1e-10)` and the same decay.
        otherwise_rate: their learning rate is that of the matrices times this, at least 0. None:
            0.015 for "keller" and "unit_rms", as in the authors' defaults of 0.02 and 3e-4, else 1.
        hidden: a mask of the parameters that may be matrices; True for all. None: those whose path
            has no part that contains `embed` or is one of `wte`, `wpe`, `head`, `..._head`,
            `logits` or `classifier`, in capitals or not, with a number (`head_0`) or without. A
            last layer that is called `Dense_3` is told to be none by `hidden="!Dense_3"`.
        matrices: which axes make a matrix of a leaf with more than two, as in `lift`: of a
            convolution `{"Conv": ((0, 1, 2), 3)}`, of the heads of Flax's attention
            `{"query|key|value": (0, (1, 2)), "out": ((0, 1), 2)}` as one matrix.
        layer_axis: where layers are stacked in one leaf, as in `lift`; each is a matrix.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.muon(0.1), {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    >>> grads = {"kernel": jnp.diag(jnp.array([3.0, 0.5])), "bias": jnp.ones(2)}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> jnp.diag(updates["kernel"]), updates["bias"]
    (Array([-0.0713..., -0.1041...], dtype=float32), Array([-0.0015, -0.0015], dtype=float32))

    Source: https://kellerjordan.github.io/posts/muon/
    """
    scaling = as_adjusted(scaling, adjust)
    if otherwise_rate is None:
        otherwise_rate = 0.015 if scaling in ("keller", "unit_rms") else 1.0
    return for_hidden(
        MeanGradient(beta, nesterov),
        orthogonalize(ns_coeffs, ns_steps, eps, ns_dtype),
        MatrixScale(scaling),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
