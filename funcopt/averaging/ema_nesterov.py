"""EMA-Nesterov: look ahead along an exponential average of an optimizer's way.

    y = x + look_ahead m           where gradients are taken: the parameters in training
    x' = y + base update at y      what `funcopt.eval_params` returns
    m ← decay m + (1 − decay) (x' − x)

Yau et al., 2026 (https://arxiv.org/abs/2605.25395). With decay = 0 and descent it is Nesterov's
momentum, which looks along the last step alone.
"""

from typing import NamedTuple

import jax.numpy as jnp
from optax import Params

from ..core.arguments import Base, DecayRate, NonNegative
from ..core.paper import Paper
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import CommonNumber, ExactColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, axpy, emas
from ..storage import Storage
from .mixed import mixed


class EmaNesterovNumbers(NamedTuple):
    """How far the parameters are ahead, in units of m."""

    look_ahead: CommonNumber


class EmaNesterovSlots(NamedTuple):
    mean_step: ExactColumn

    def eval_params(self, params: Params, numbers: EmaNesterovNumbers) -> Params:
        return mixed(params, self.mean_step, lambda y, m, ahead: y - ahead * m, numbers.look_ahead)


@tree_rule(slots=EmaNesterovSlots, numbers=EmaNesterovNumbers)
class EmaNesterov(TreeRule):
    look_ahead: NonNegative
    decay: DecayRate

    def init(self, x: Column, start: Start):
        return EmaNesterovSlots(start.zeros(x)), EmaNesterovNumbers(start.number(self.look_ahead))

    def update(
        self, g: Column, slots: EmaNesterovSlots, was: EmaNesterovNumbers, x: Column, step: Step
    ):
        u, inner = step.run()
        gone = axpy(was.look_ahead, slots.mean_step, u)
        m = emas(slots.mean_step, gone, self.decay)
        slots = step.renew(slots, mean_step=m)
        ahead = jnp.asarray(self.look_ahead, step.real)
        return axpy(ahead, slots.mean_step, u), slots, EmaNesterovNumbers(ahead), inner


EMA_NESTEROV = Paper(
    "Yau, Chung-Yiu and Li, Dawei and Glentis, Athanasios and Boreiko, Valentyn and Wai, Hoi-To "
    "and Hong, Mingyi",
    "EMA-Nesterov: Stabilizing Nesterov's Lookahead for Accelerated Deep Learning Optimization",
    2026,
    "https://arxiv.org/abs/2605.25395",
)


@transformation(paper=EMA_NESTEROV)
def ema_nesterov(
    inner: Base, look_ahead: NonNegative = 0.5, decay: DecayRate = 0.99, *, storage: Storage = None
):
    """EMA-Nesterov: take gradients ahead, in the direction in which parameters have been going.

    Take gradients at the parameters as usual; evaluate and serve at `funcopt.eval_params(tx, state,
    params)`, which is where they are when nothing looks ahead.

    Args:
        inner: the optimizer that is wrapped, funcopt's or optax's.
        look_ahead: how far, in units of the average step, at least 0, or a schedule, whose value at
            step k is that of the point to which the update of step k leads. The authors take 0 in
            the warm-up and in the last third of the training, else 0.3 to 0.6 times the learning
            rate over its largest.
        decay: of the average step, in [0, 1).
        storage: how the average step is kept, see `funcopt.storage`; it is kept in full.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.ema_nesterov(funcopt.sgd(1.0), 0.5, decay=0.0), jnp.array([8.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     params, state = funcopt.step(tx, jnp.array([2.0]), state, params)
    >>> params, funcopt.eval_params(tx, state, params)  # 5 and 6 after the first step
    (Array([1.5], dtype=float32), Array([3.], dtype=float32))

    Source: https://arxiv.org/abs/2605.25395.
    """
    return LiftedTree(EmaNesterov(look_ahead, decay), storage, gated(inner))
