"""Adam: step each element by its mean gradient over its root-mean-square gradient.

    mu ← b1 mu + (1 − b1) g          first moment
    nu ← b2 nu + (1 − b2) |g|²       second moment
    u  = mu_hat / (√nu_hat + eps)    mu_hat = mu / (1 − b1ᵗ),  nu_hat = nu / (1 − b2ᵗ)

Kingma & Ba, 2015, Algorithm 1 (https://arxiv.org/abs/1412.6980).
"""

import math

from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, Flag, Hyperparameter, NonNegative
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import divide_by_root
from ..storage import Storage, with_slot
from .adam_atan2 import AdamAtan2
from .moment_slots import Moments, mean_square, with_gradient, zero_moments
from .nadam import Nadam


@rule(acts_on="element", slots=Moments)
class Adam(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    bias_correction: bool = True

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Adam looks only at gradients
        slots, (mu, nu) = with_gradient(slots, grad, self.b1, self.b2, self.bias_correction, clock)
        return divide_by_root(mu, nu, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, self.eps_root, self.bias_correction)


ADAM = Paper(
    "Kingma, Diederik P. and Ba, Jimmy",
    "Adam: A Method for Stochastic Optimization",
    2015,
    "https://arxiv.org/abs/1412.6980",
    booktitle=ICLR,
)


@transformation(paper=ADAM)
def scale_by_adam(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    nesterov: Flag = False,
    bias_correction: Flag = True,
    atan2: Flag = False,
    storage: Storage = None,
):
    """Adam's direction, without the learning rate. Arguments as in `adam`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_adam(b2=0.95), funcopt.descend(1e-3))
    chain(scale_by_adam(b2=0.95), descend(learning_rate=0.001))
    """
    rule_ = adam_rule(b1, b2, eps, eps_root, nesterov, bias_correction, atan2)
    return lift(rule_, storage=with_slot(storage, "mu", mu_dtype))


def adam_rule(
    b1: Hyperparameter,
    b2: Hyperparameter,
    eps: Hyperparameter,
    eps_root: Hyperparameter,
    nesterov: bool,
    bias_correction: bool,
    atan2: bool,
) -> Rule:
    """Adam, or the relative of it that is meant."""
    if nesterov and (atan2 or not bias_correction):
        other = "with atan2=True" if atan2 else "without bias correction"
        raise ValueError(f"adam: nesterov=True has no form {other}.")
    if nesterov:
        return Nadam(b1, b2, eps, eps_root)
    if not atan2:
        return Adam(b1, b2, eps, eps_root, bias_correction)
    for name, x, usual in (("eps", eps, Adam.eps), ("eps_root", eps_root, Adam.eps_root)):
        if isinstance(x, int | float) and not math.isclose(x, usual, rel_tol=1e-6):
            raise ValueError(f"adam: atan2=True has no {name}, got {x!r}. Leave it out.")
    return AdamAtan2(b1, b2, bias_correction)
