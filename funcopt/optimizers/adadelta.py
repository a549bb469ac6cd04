"""Adadelta: AdaGrad over a window of recent gradients, in units of the parameter.

    e_g ← rho e_g + (1 − rho) |g|²
    u = √(e_x + eps) / √(e_g + eps) g
    e_x ← rho e_x + (1 − rho) |u|²

Zeiler, 2012, Algorithm 1 (https://arxiv.org/abs/1212.5701), where the learning rate is 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import NonNegative, OpenDecayRate, Rate
from ..core.masked import masked
from ..core.optimizer import lift, optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, ema, zeros_real
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import WeightDecay, decaying


class AdadeltaSlots(NamedTuple):
    e_g: Accumulator
    e_x: Accumulator


@rule(acts_on="element", slots=AdadeltaSlots, decay_of={"e_g": "rho", "e_x": "rho"})
class Adadelta(Rule):
    rho: OpenDecayRate = 0.9
    eps: NonNegative = 1e-6

    def init(self, param: Inexact[Array, "*p"]) -> AdadeltaSlots:
        return AdadeltaSlots(e_g=zeros_real(param), e_x=zeros_real(param))

    def update(self, grad: Inexact[Array, "*p"], slots: AdadeltaSlots, param, clock: Clock):
        del param  # Adadelta looks only at gradients
        slots = clock.renew(slots, e_g=ema(slots.e_g, abs_sq(grad), self.rho))
        g_sq, scale = abs_sq(grad), slots.e_g + self.eps
        u_sq = divide_or_keep((slots.e_x + self.eps) * g_sq, scale)
        slots = clock.renew(slots, e_x=ema(slots.e_x, u_sq, self.rho))
        # The old e_x + eps over scale, written with the new e_x, for Clock.renew's reason.
        weight = self.rho * scale + (1 - self.rho) * g_sq
        return jnp.sqrt(divide_or_keep(slots.e_x + self.rho * self.eps, weight)) * grad, slots

    def divides_by(self) -> Divisor:
        return Divisor(lambda slots: slots.e_g, self.rho, eps_root=self.eps)


ADADELTA = Paper(
    "Zeiler, Matthew D.",
    "ADADELTA: An Adaptive Learning Rate Method",
    2012,
    "https://arxiv.org/abs/1212.5701",
)


@transformation(paper=ADADELTA)
def scale_by_adadelta(
    rho: OpenDecayRate = 0.9, eps: NonNegative = 1e-6, *, storage: Storage = None
):
    """Adadelta's direction, without the learning rate. Arguments as in `adadelta`.

    >>> import funcopt
    >>> funcopt.scale_by_adadelta(0.95)
    scale_by_adadelta(rho=0.95)
    """
    return lift(Adadelta(rho, eps), storage=storage)


@transformation(paper=ADADELTA)
def adadelta(
    learning_rate: Rate = 1.0,
    rho: OpenDecayRate = 0.9,
    eps: NonNegative = 1e-6,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """Adadelta: the gradient over its running RMS, times the running RMS of past updates.

    There is no rate to tune in the paper, but a slow start from eps.

    Args:
        learning_rate: at least 0, or a schedule; 1 is the paper's and PyTorch's.
        rho: decay of both mean squares, in (0, 1).
        eps: at least 0; the first steps are √eps long.
        weight_decay: added to the gradient times the parameter (L2, as PyTorch and optax), at
            least 0; or one of `funcopt.decays`, such as `decays.decoupled(0.1)`.
        mask: which parameters decay, see `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt
    >>> funcopt.adadelta(rho=0.95)
    adadelta(rho=0.95)

    Source: https://arxiv.org/abs/1212.5701, Algorithm 1.
    """
    return optimizer(
        masked(mask, decaying(weight_decay, L2Decay)),
        Adadelta(rho, eps),
        learning_rate=learning_rate,
        storage=storage,
    )
