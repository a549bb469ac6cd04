"""Muon: step hidden matrices by their mean gradient, with all of its singular values made equal.

    trace ← beta trace + (1 − beta) G
    M = beta trace + (1 − beta) G           Nesterov; else M = trace
    O ≈ U Vᵀ, where M = U S Vᵀ              by `ns_steps` of Newton and Schulz
    u = √max(1, outputs / inputs) O

Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/). There a matrix is [outputs,
inputs], as in PyTorch, and the factor is of rows over columns; here it is [inputs, outputs], as in
JAX's libraries. Embeddings, output heads and what is no matrix go through AdamW. With the factor
0.2 √max(inputs, outputs) steps are about as long as AdamW's: Liu et al., 2025
(https://arxiv.org/abs/2502.16982).
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import (
    Choice,
    DecayRate,
    Flag,
    NonNegative,
    Numeric,
    OptionalNonNegative,
    Rate,
    Steps,
    is_number,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.lift import masked
from ..core.optimizer import Otherwise, optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import ema
from ..math.newton_schulz import newton_schulz
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from ..transforms.scale import Scale
from .adam import Adam
from .sgd import TraceSlots

MUON = Paper(
    "Jordan, Keller and Jin, Yuchen and Boza, Vlado and You, Jiacheng and Cesista, Franz and "
    "Newhouse, Laker and Bernstein, Jeremy",
    "Muon: An Optimizer for Hidden Layers in Neural Networks",
    2024,
    "https://kellerjordan.github.io/posts/muon/",
    howpublished="kellerjordan.github.io",
)
QUINTIC = (3.4445, -4.7750, 2.0315)
ADJUST = ("original", "match_rms_adamw")
NO_HIDDEN = r"(?i)(^|[/._])(\w*embed\w*|wte|wpe|(\w+_)?head|logits|classifier)(_\d+)?(/|$)"


def _coefficients(where: str, x: Any) -> Any:
    def is_triple(each: Any) -> bool:
        return isinstance(each, tuple | list) and len(each) == 3 and all(map(is_number, each))

    def numbers(each: Any) -> tuple:
        return tuple(float(n) if isinstance(n, int | float) else n for n in each)

    if is_triple(x):
        return numbers(x)
    if isinstance(x, tuple | list) and x and all(map(is_triple, x)):
        return tuple(map(numbers, x))
    raise TypeError(
        f"{where} must be three numbers (a, b, c), or such a triple for each step, got {x!r}."
    )


Coefficients = Annotated[Sequence[Numeric] | Sequence[Sequence[Numeric]], _coefficients]
"""Those of the polynomial a s + b s³ + c s⁵, three numbers; or three for each step."""


@rule(acts_on="matrix", slots=TraceSlots)
class Muon(Rule):
    beta: DecayRate = 0.95
    ns_coeffs: Coefficients = QUINTIC
    ns_steps: Steps = 5
    eps: NonNegative = 1e-7
    nesterov: bool = True
    adjust: Annotated[Literal["original", "match_rms_adamw"], Choice(ADJUST)] = "original"

    def init(self, param: Inexact[Array, "inputs outputs"]) -> TraceSlots:
        return TraceSlots(trace=jnp.zeros_like(param))

    def update(
        self, grad: Inexact[Array, "inputs outputs"], slots: TraceSlots, param, clock: Clock
    ):
        del param  # Muon looks only at gradients
        slots = clock.renew(slots, trace=ema(slots.trace, grad, self.beta))
        ahead = ema(slots.trace, grad, self.beta) if self.nesterov else slots.trace
        inputs, outputs = grad.shape
        factor = 0.2 * math.sqrt(max(inputs, outputs))
        if self.adjust == "original":
            factor = math.sqrt(max(1, outputs / max(inputs, 1)))
        return factor * newton_schulz(ahead, self.triples(), self.eps), slots

    def triples(self) -> Sequence[Any]:
        """(a, b, c) of each step."""
        told = self.ns_coeffs
        if not isinstance(told[0], tuple | list):
            return [told] * int(self.ns_steps)
        if len(told) != self.ns_steps:
            raise ValueError(
                f"Muon: ns_coeffs has three numbers for each of {len(told)} steps, and ns_steps is "
                f"{self.ns_steps}."
            )
        return told


def hidden_matrices(path: str, leaf: Any) -> bool:
    """Whether the name of a parameter is not one of an embedding or an output head."""
    del leaf  # its axes are looked at elsewhere
    return re.search(NO_HIDDEN, path) is None


@transformation(paper=MUON)
def muon(
    learning_rate: Rate,
    ns_coeffs: Coefficients = QUINTIC,
    ns_steps: Steps = 5,
    beta: DecayRate = 0.95,
    eps: NonNegative = 1e-7,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    *,
    nesterov: Flag = True,
    adjust: Annotated[Literal["original", "match_rms_adamw"], Choice(ADJUST)] = "original",
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
            `adjust="match_rms_adamw"`, one that suits AdamW.
        ns_coeffs: (a, b, c) of the polynomial a s + b s³ + c s⁵ that each step applies to all
            singular values, or such a triple for each step.
        ns_steps: how often, at least once.
        beta: decay of the mean gradient, in [0, 1).
        eps: added to the norm that the mean gradient is divided by, at least 0.
        weight_decay: of all parameters, at least 0; it goes through their learning rates.
        mask: which parameters decay, see `add_decayed_weights`.
        nesterov: look ahead by one step of momentum.
        adjust: what the orthogonal factor is multiplied by: √max(1, outputs / inputs) for
            "original", 0.2 √max(inputs, outputs) for "match_rms_adamw".
        otherwise: the rules for what is no hidden matrix, one or several; None for
            `Adam(0.9, 0.95, eps=1e-10)` and the same decay.
        otherwise_rate: the learning rate of these is that of the matrices times this, at least 0.
            None: 0.015 for "original", as in the authors' defaults of 0.02 and 3e-4, else 1.
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
    decay = masked(mask, Decay(weight_decay))
    rest = (Adam(0.9, 0.95, 1e-10), decay) if otherwise is None else otherwise
    assert isinstance(rest, tuple)
    if otherwise_rate is None:
        otherwise_rate = 0.015 if adjust == "original" else 1.0
    return optimizer(
        Muon(beta, ns_coeffs, ns_steps, eps, nesterov, adjust),
        decay,
        learning_rate=learning_rate,
        otherwise=(*rest, Scale(otherwise_rate)),
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden_matrices if hidden is None else hidden,
        storage=storage,
    )
