"""Adam: step each element by its mean gradient over its root-mean-square gradient.

    mu ← b1 mu + (1 − b1) g          first moment
    nu ← b2 nu + (1 − b2) |g|²       second moment
    u  = mu_hat / (√nu_hat + eps)    mu_hat = mu / (1 − b1ᵗ),  nu_hat = nu / (1 − b2ᵗ)

Kingma & Ba, 2015, Algorithm 1 (https://arxiv.org/abs/1412.6980).
"""

import math

from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, Flag, Hyperparameter, NonNegative, Rate
from ..core.optimizer import lift, optimizer
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, unbiased
from ..storage import Storage, with_slot
from .adam_atan2 import AdamAtan2
from .moment_slots import Moments, mean_square, zero_moments
from .nadam import Nadam


@rule(acts_on="element", slots=Moments)
class Adam(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    bias_correction: bool = True

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Adam looks only at gradients
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, grad, self.b1),
            nu=ema(slots.nu, abs_sq(grad), self.b2),
        )
        mu, nu = slots
        if self.bias_correction:
            mu, nu = unbiased(mu, self.b1, clock.t), unbiased(nu, self.b2, clock.t)
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


@transformation(paper=ADAM)
def adam(
    learning_rate: Rate,
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
    """Adam: the running mean of gradients over the root of the running mean of their squares.

    A good first choice where gradients are noisy or badly scaled.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0; a small one makes the update differentiable
            at zero gradients.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        nesterov: look ahead as `nadam` does.
        bias_correction: divide the moments by their total weight. Without it, the first steps are
            (1 − b1) / √(1 − b2) times as long: about three times with the defaults.
        atan2: Adam-atan2 (Everett et al., 2024): u = 4/π atan2(mu_hat, √nu_hat), which needs no
            `eps`, is the same at every scale of gradients, and at most 2 in each element.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `nesterov` or
            an `eps` is given with `atan2`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.adam(0.1)
    >>> params = jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([ 0.9, -1.9], dtype=float32)

    Source: https://arxiv.org/abs/1412.6980, Algorithm 1.
    """
    rule_ = adam_rule(b1, b2, eps, eps_root, nesterov, bias_correction, atan2)
    return optimizer(rule_, learning_rate=learning_rate, storage=with_slot(storage, "mu", mu_dtype))


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
