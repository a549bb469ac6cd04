"""AdaBelief: Adam that divides by how far gradients are from what was expected of them.

    mu ← b1 mu + (1 − b1) g
    nu ← b2 nu + (1 − b2) |g − mu|² + eps_root
    u  = mu_hat / (√nu_hat + eps)      mu_hat = mu / (1 − b1ᵗ),  nu_hat = nu / (1 − b2ᵗ)

Zhuang et al., 2020, Algorithm 2 (https://arxiv.org/abs/2010.07468). There eps and eps_root are one
number, added at every step, so that nu comes to hold eps_root / (1 − b2); so it is in the authors'
program and in optax. What reads it as √(nu_hat + eps), as Adam's `eps_root` is, has another floor.
"""

from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, Flag, NonNegative, Rate
from ..core.optimizer import lift, optimizer
from ..core.paper import NEURIPS, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema
from ..storage import Storage
from .moment_slots import Moments, mean_square, zero_moments


@rule(acts_on="element", slots=Moments)
class Adabelief(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    nesterov: bool = False

    corrects = ("b1", "b2", ("b1", 1))

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # AdaBelief looks only at gradients
        slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b1))
        surprise = abs_sq(grad - slots.mu)
        mu, nu = slots = clock.renew(slots, nu=ema(slots.nu, surprise, self.b2) + self.eps_root)
        if self.nesterov:
            ahead = clock.unbiased(mu, self.b1, ahead=1)
            mu = ema(ahead, clock.unbiased(grad, self.b1), self.b1)
        else:
            mu = clock.unbiased(mu, self.b1)
        return divide_by_root(mu, clock.unbiased(nu, self.b2), self.eps), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, corrected=True)


ADABELIEF = Paper(
    "Zhuang, Juntang and Tang, Tommy and Ding, Yifan and Tatikonda, Sekhar and Dvornek, Nicha "
    "and Papademetris, Xenophon and Duncan, James S.",
    "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients",
    2020,
    "https://arxiv.org/abs/2010.07468",
    booktitle=NEURIPS,
)


@transformation(paper=ADABELIEF)
def scale_by_belief(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-16,
    eps_root: NonNegative = 1e-16,
    *,
    nesterov: Flag = False,
    storage: Storage = None,
):
    """AdaBelief's direction, without the learning rate. Arguments as in `adabelief`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_belief(b2=0.99), funcopt.descend(1e-3))
    chain(scale_by_belief(b2=0.99), descend(learning_rate=0.001))
    """
    return lift(Adabelief(b1, b2, eps, eps_root, nesterov), storage=storage)


@transformation(paper=ADABELIEF)
def adabelief(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-16,
    eps_root: NonNegative = 1e-16,
    *,
    nesterov: Flag = False,
    storage: Storage = None,
):
    """AdaBelief: Adam whose second moment is the variance of gradients around their running mean.

    Steps are longer where gradients are as expected, and shorter where they surprise.

    Args:
        learning_rate: at least 0, or a schedule. Steps are longer than Adam's at the same rate, as
            far as gradients repeat themselves.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared surprise |g − mu|², in [0, 1).
        eps: added to the root, at least 0. The defaults of both are optax's and the authors'.
        eps_root: added to the mean squared surprise at every step, at least 0: in the long run
            eps_root / (1 − b2) of it is inside the root.
        nesterov: look ahead as `nadam` does.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adabelief(0.1), jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([ 0.8888889, -1.8888888], dtype=float32)

    Source: https://arxiv.org/abs/2010.07468, Algorithm 2.
    """
    rule_ = Adabelief(b1, b2, eps, eps_root, nesterov)
    return optimizer(rule_, learning_rate=learning_rate, storage=storage)
