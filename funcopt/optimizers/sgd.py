"""Gradient descent with momentum.

    trace ← decay trace + g
    u = trace                      heavy ball: Polyak, 1964
    u = g + decay trace            Nesterov, 1983, as simplified by Bengio et al., 2012

The trace starts at zero and its new gradient has weight one, as in PyTorch without dampening.
Keras keeps the learning rate inside the trace, which differs while the rate changes.
Polyak: https://doi.org/10.1016/0041-5553(64)90137-5. Bengio, Boulanger-Lewandowski & Pascanu,
Section 3.5: https://arxiv.org/abs/1212.0901.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import ClosedDecayRate, DType, Flag, OptionalDecayRate, Rate
from ..core.optimizer import lift, optimizer
from ..core.paper import ICML, Paper
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..storage import Storage, with_slot


class TraceSlots(NamedTuple):
    trace: Signed


@rule(acts_on="element", slots=TraceSlots, decay_of={"trace": "decay"})
class Momentum(Rule):
    decay: ClosedDecayRate
    nesterov: bool = False

    def init(self, param: Inexact[Array, "*p"]) -> TraceSlots:
        return TraceSlots(trace=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: TraceSlots, param, clock: Clock):
        del param  # momentum looks only at updates
        slots = clock.renew(slots, trace=self.decay * slots.trace + grad)
        return (grad + self.decay * slots.trace if self.nesterov else slots.trace), slots


MOMENTUM = Paper(
    "Sutskever, Ilya and Martens, James and Dahl, George and Hinton, Geoffrey",
    "On the importance of initialization and momentum in deep learning",
    2013,
    "https://proceedings.mlr.press/v28/sutskever13.html",
    booktitle=ICML,
)


@transformation(paper=MOMENTUM)
def trace(
    decay: ClosedDecayRate,
    nesterov: Flag = False,
    accumulator_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Momentum as a building block: a decaying sum of updates.

    Args:
        decay: in [0, 1], or a schedule; 1 sums everything up.
        nesterov: look one step ahead.
        accumulator_dtype: the dtype in which the trace is kept, None for that of the arithmetic.
        storage: how slots are kept between steps, see `funcopt.storage`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.trace(0.5)
    >>> _, state = tx.update(jnp.array([1.0]), tx.init(jnp.zeros(1)))
    >>> tx.update(jnp.array([1.0]), state)[0]
    Array([1.5], dtype=float32)
    """
    return lift(Momentum(decay, nesterov), storage=with_slot(storage, "trace", accumulator_dtype))


@transformation(paper=MOMENTUM)
def sgd(
    learning_rate: Rate,
    momentum: OptionalDecayRate = None,
    nesterov: Flag = False,
    accumulator_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Stochastic gradient descent, optionally with momentum.

    Args:
        learning_rate: at least 0, or a schedule. With momentum m, steps grow to 1 / (1 − m) times
            this.
        momentum: in [0, 1), a schedule, or None for none (and no slot).
        nesterov: look one momentum step ahead.
        accumulator_dtype: the dtype in which the trace is kept, None for that of the arithmetic.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.sgd(0.1, momentum=0.9)
    >>> params, state = funcopt.step(tx, jnp.array([1.0]), tx.init(jnp.zeros(1)), jnp.zeros(1))
    >>> params
    Array([-0.1], dtype=float32)

    Source: https://proceedings.mlr.press/v28/sutskever13.html, and Section 3.5 of
    https://arxiv.org/abs/1212.0901.
    """
    if momentum is None:
        if nesterov:
            raise ValueError("sgd: nesterov=True needs momentum=, for example 0.9.")
        return optimizer(learning_rate=learning_rate, storage=storage)
    return optimizer(
        Momentum(momentum, nesterov),
        learning_rate=learning_rate,
        storage=with_slot(storage, "trace", accumulator_dtype),
    )
