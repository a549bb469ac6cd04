"""Lookahead: every few steps go a part of the way back to where they began.

    x ← x + inner update                    fast weights: the parameters in training
    every sync_period-th step
        z ← z + slow_step_size (x − z)      slow weights: what `funcopt.eval_params` returns
        x ← z

Zhang, Lucas, Hinton & Ba, 2019, Algorithm 1 (https://arxiv.org/abs/1907.08610).
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
from optax import Params

from ..core.arguments import Base, Flag, Hyperparameter, Steps, Within
from ..core.paper import NEURIPS, Paper
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import ExactColumn, NoNumbers, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, minus
from ..storage import Storage
from .mixed import mixed

SlowStep = Annotated[Hyperparameter, Within(0, 1)]


class LookaheadSlots(NamedTuple):
    slow: ExactColumn

    def eval_params(self, params: Params, numbers: NoNumbers) -> Params:
        del numbers  # slow weights are kept as they are
        return mixed(params, self.slow, lambda x, slow: slow)


@tree_rule(slots=LookaheadSlots)
class Lookahead(TreeRule):
    sync_period: Steps
    slow_step_size: SlowStep
    reset_state: bool = False

    def init(self, x: Column, start: Start):
        del start  # there are no numbers
        return LookaheadSlots(x), NoNumbers()

    def update(self, g: Column, slots: LookaheadSlots, was: NoNumbers, x: Column, step: Step):
        u, inner = step.run()
        syncs = step.clock.t % self.sync_period == 0
        part = jnp.where(syncs, jnp.asarray(self.slow_step_size, step.real), 0)
        rows = list(zip(slots.slow, x, u, strict=True))
        slots = step.renew(slots, slow=[z + part * ((y - z) + d) for z, y, d in rows])
        if self.reset_state:
            inner = step.restart(inner, syncs, slots.slow)
        back = minus(slots.slow, x)
        steps = [jnp.where(syncs, b, d) for b, d in zip(back, u, strict=True)]
        return steps, slots, was, inner


LOOKAHEAD = Paper(
    "Zhang, Michael R. and Lucas, James and Hinton, Geoffrey and Ba, Jimmy",
    "Lookahead Optimizer: k steps forward, 1 step back",
    2019,
    "https://arxiv.org/abs/1907.08610",
    booktitle=NEURIPS,
)


@transformation(paper=LOOKAHEAD)
def lookahead(
    inner: Base,
    sync_period: Steps = 6,
    slow_step_size: SlowStep = 0.5,
    reset_state: Flag = False,
    *,
    storage: Storage = None,
):
    """Lookahead: every few steps, move slow weights towards the fast ones and go on from there.

    Train with the parameters as usual; evaluate at `funcopt.eval_params(tx, state, params)`, the
    slow weights. Right after a synchronization both are the same.

    Args:
        inner: the optimizer that is wrapped, funcopt's or optax's.
        sync_period: after how many steps they are, at least 1.
        slow_step_size: which part of the way slow weights go to the fast ones, in [0, 1], or a
            schedule. 1 leaves the inner optimizer as it is.
        reset_state: begin the inner optimizer's state anew, its count and so its schedules too,
            whenever weights are synchronized; False to leave it as it is.
        storage: how slow weights are kept, see `funcopt.storage`; they are kept in full, in float32
            beside half-precision parameters.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    optax's `lookahead` takes a pair of fast and slow parameters in place of the parameters; here
    slow ones are in the state.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.lookahead(funcopt.sgd(0.5), sync_period=2), jnp.array([8.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> params, funcopt.eval_params(tx, state, params)
    (Array([5.], dtype=float32), Array([5.], dtype=float32))

    Source: https://arxiv.org/abs/1907.08610, Algorithm 1.
    """
    return LiftedTree(Lookahead(sync_period, slow_step_size, reset_state), storage, gated(inner))
