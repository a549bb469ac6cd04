"""ADOPT: Adam that divides by the squares of the gradients before, and only then takes the mean.

    t = 1    nu ← |g|²,   no step
    t > 1    c  = g / max(√nu, eps), clipped to ± (t − 1)^¼
             mu ← b1 mu + (1 − b1) c
             nu ← b2 nu + (1 − b2) |g|²
             u  = mu

Taniguchi et al., 2024, Algorithm 2 (https://arxiv.org/abs/2411.02853): a gradient and what it is
divided by are independent, so it converges for every b2. The bound counts steps that are made, as
in the authors' program. A complex number is clipped by its magnitude.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import DecayRate, DType, Flag, NonNegative, OptionalThreshold
from ..core.optimizer import lift
from ..core.paper import NEURIPS, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, ema, times
from ..storage import Storage, with_slot
from .moment_slots import Moments, mean_square, zero_moments


@rule(acts_on="element", slots=Moments)
class Adopt(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.9999
    eps: NonNegative = 1e-6
    nesterov: bool = False
    use_clipping: bool = True
    clip_value: OptionalThreshold = None

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # ADOPT looks only at gradients
        first, square = clock.t == 1, abs_sq(grad)
        adapted = divide_or_keep(grad, jnp.maximum(jnp.sqrt(slots.nu), self.eps))
        if self.use_clipping:
            adapted = _clipped(adapted, self._bound(clock, square))
        adapted = jnp.where(first, 0, adapted)
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, adapted, self.b1),
            nu=jnp.where(first, square, ema(slots.nu, square, self.b2)),
        )
        return ema(slots.mu, adapted, self.b1) if self.nesterov else slots.mu, slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps)

    def _bound(self, clock: Clock, like: Float[Array, "*p"]) -> Float[Array, ""]:
        if self.clip_value is not None:
            return jnp.asarray(self.clip_value, like.dtype)
        return jnp.sqrt(jnp.sqrt((clock.t - 1).astype(like.dtype)))


def _clipped(x: Inexact[Array, "*p"], bound: Float[Array, ""]) -> Inexact[Array, "*p"]:
    if not jnp.iscomplexobj(x):
        return jnp.clip(x, -bound, bound)
    long = jnp.abs(x) > bound
    return times(jnp.where(long, bound / jnp.where(long, jnp.abs(x), 1), 1), x)


ADOPT = Paper(
    "Taniguchi, Shohei and Harada, Keno and Minegishi, Gouki and Oshima, Yuta and Jeong, Seong "
    "Cheol and Nagahara, Go and Iiyama, Tomoshi and Suzuki, Masahiro and Iwasawa, Yusuke and "
    "Matsuo, Yutaka",
    "ADOPT: Modified Adam Can Converge with Any β2 with the Optimal Rate",
    2024,
    "https://arxiv.org/abs/2411.02853",
    booktitle=NEURIPS,
)


@transformation(paper=ADOPT)
def scale_by_adopt(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.9999,
    eps: NonNegative = 1e-6,
    mu_dtype: DType = None,
    *,
    nesterov: Flag = False,
    use_clipping: Flag = True,
    clip_value: OptionalThreshold = None,
    storage: Storage = None,
):
    """ADOPT's direction, without the learning rate. Arguments as in `adopt`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_adopt(b2=0.99), funcopt.descend(1e-3))
    chain(scale_by_adopt(b2=0.99), descend(learning_rate=0.001))
    """
    rule_ = Adopt(b1, b2, eps, nesterov, use_clipping, clip_value)
    return lift(rule_, storage=with_slot(storage, "mu", mu_dtype))
