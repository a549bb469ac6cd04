"""Schedule-free learning: averaging in place of a decaying rate.

    y_t = (1 − β) z_t + β x_t              where gradients are taken: the parameters in training
    z_{t+1} = z_t + base update at y_t     the base optimizer's own sequence, without momentum
    w_t = (max η_i)^p,  c_t = w_t / Σ w_i
    x_{t+1} = (1 − c_t) x_t + c_t z_{t+1}  the average: what `funcopt.eval_params` returns

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), eqs. 4 to 6 and algorithm 1.

Of x, y and z only y and z are kept, and x is recovered from them; beside half-precision
parameters, in which steps of an average would round away, x is kept in float32 too.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Params, ScalarOrSchedule, Updates

from ..core.arguments import Base, DType, NonNegative, OpenDecayRate, OptionalNonNegative
from ..core.paper import NEURIPS, Paper
from ..core.rule import Exact
from ..core.transformation import chain, rates, transformation
from ..core.turn import Start, Turn
from ..math.columns import axpy, minus
from ..math.safe import safe_divide
from ..storage import Storage, check_slots
from .mixed import mixed


class ScheduleFreeSlots(NamedTuple):
    z: Exact
    x: Exact


class ScheduleFreeState(NamedTuple):
    """`x` is None where it is recovered from the parameters, `z` and `b1`."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    b1: Float[Array, ""]
    max_lr: Float[Array, ""]
    weight_sum: Float[Array, ""]
    z: Params
    x: Params | None
    base_optimizer_state: OptState
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {} if rates(self.base_optimizer_state) else {"lr": self.lr}

    def eval_params(self, params: Params) -> Params:
        if self.x is not None:
            return mixed(params, self.x, lambda y, x, real: x)
        return mixed(params, self.z, lambda y, z, real: _recovered(y, z, self.b1.astype(real)))


def _recovered(y: Array, z: Array, b1: Array) -> Array:
    return (y - (1 - b1) * z) / b1


@dataclass(frozen=True)
class ScheduleFree:
    base: optax.GradientTransformationExtraArgs
    learning_rate: ScalarOrSchedule | None
    b1: Any
    weight_lr_power: Any
    state_dtype: Any
    storage: Any
    mask: Any = None

    static: ClassVar = ("base", "state_dtype", "storage", "mask")

    def init(self, params: Params) -> ScheduleFreeState:
        h, start = Start.of(self, params)
        z = [x.astype(self.state_dtype or x.dtype) for x in jax.tree.leaves(start.copies())]
        half = any(jnp.finfo(jnp.result_type(x)).bits < 32 for x in jax.tree.leaves(params))
        base_state = self.base.init(start.tree(start.wide))
        return ScheduleFreeState(
            count=start.count,
            lr=self._rate(h, base_state, start.real),
            b1=start.scalar(h.b1),
            max_lr=start.scalar(0.0),
            weight_sum=start.scalar(0.0),
            **start.slots(
                ScheduleFreeSlots,
                self.storage,
                z=start.tree(z),
                x=start.copies() if half else None,
            ),
            base_optimizer_state=base_state,
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: ScheduleFreeState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ScheduleFreeState]:
        h, now = Turn.of(
            self, updates, state, params, kind=ScheduleFreeState, slots=ScheduleFreeSlots,
            as_they_are=("z",) if self.state_dtype else (), value=value, metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        y, z = now.params, now.column(state.z)
        given = {"value": value, "metric": metric, "gate": gate}
        extra_args |= {name: each for name, each in given.items() if each is not None}
        at_y = jax.tree.unflatten(now.structure, y)
        base_updates, base_state = self.base.update(
            updates, state.base_optimizer_state, at_y, **extra_args
        )
        u = now.column(base_updates)

        lr = self._rate(h, base_state, now.real)
        max_lr = jnp.maximum(state.max_lr, lr)
        weight = max_lr**h.weight_lr_power
        weight_sum = state.weight_sum + weight
        c = safe_divide(weight, weight_sum)
        b1, old_b1 = jnp.asarray(h.b1, now.real), state.b1.astype(now.real)

        new = {"z": axpy(1, u, z)}
        if state.x is not None:
            x = now.column(state.x)
            new["x"] = axpy(c, minus(new["z"], x), x)
        state = now.renew(lr=lr, b1=b1, max_lr=max_lr, weight_sum=weight_sum, **new)
        z = now.column(state.z)
        if state.x is None:
            # z - x and x - z before this step, from what is there after it: nothing is copied.
            ahead = [(a - b - (1 - old_b1) * d) / old_b1 for a, b, d in zip(z, y, u, strict=True)]
            apart = [(b - a + d) / old_b1 for a, b, d in zip(z, y, u, strict=True)]
            # As a sum of small steps, which is 0 at a rate of 0.
            steps = [
                h.b1 * c * a + (1 - h.b1) * d + (h.b1 - old_b1) * b
                for a, b, d in zip(ahead, apart, u, strict=True)
            ]
        else:
            x = now.column(state.x)
            steps = axpy(h.b1, minus(x, y), [(1 - h.b1) * each for each in minus(z, y)])
        state = ScheduleFreeState(**{**state._asdict(), "base_optimizer_state": base_state})
        return now.leave(steps), state

    def _rate(self, h: Any, base_state: OptState, real: Any) -> Float[Array, ""]:
        if self.learning_rate is not None:
            return jnp.asarray(h.learning_rate, real)
        found = list(rates(base_state).values())
        if len(found) != 1:
            raise ValueError(
                f"schedule_free: the base optimizer reports {len(found) or 'no'} learning rate"
                f"{'s' * (len(found) != 1)}, so give schedule_free its learning_rate."
            )
        return jnp.array(found[0], real)  # a copy: both states may be donated


SCHEDULE_FREE = Paper(
    "Defazio, Aaron and Yang, Xingyu Alice and Mehta, Harsh and Mishchenko, Konstantin and "
    "Khaled, Ahmed and Cutkosky, Ashok",
    "The Road Less Scheduled",
    2024,
    "https://arxiv.org/abs/2405.15682",
    booktitle=NEURIPS,
)


@transformation(paper=SCHEDULE_FREE)
def schedule_free(
    base_optimizer: Base,
    learning_rate: OptionalNonNegative = None,
    b1: OpenDecayRate = 0.9,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Make an optimizer schedule-free: average its steps instead of letting its rate decay.

    Train and take gradients at the parameters as usual; evaluate and serve at
    `funcopt.eval_params(tx, state, params)`. Warm up, but do not decay. Statistics of batch
    normalization belong to the evaluated parameters: collect them again before evaluating.

    Args:
        base_optimizer: a funcopt or optax optimizer without momentum, which this takes the place
            of: `sgd(rate)`, `rmsprop(rate, 0.999, bias_correction=True, eps_in_sqrt=False)`.
        learning_rate: by which steps are weighted in the average. None takes the rate in force
            from the base optimizer's state, so that the two never differ; an optax optimizer does
            not tell its rate, so give it here again.
        b1: in (0, 1), or a schedule: how much of the average is in the parameters; it takes the
            place of momentum. 0.9 to 0.98.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    optax (0.2.8) reads the rate of the weights one step later than its base optimizer does, and
    keeps sums in the parameters' dtype; both are as in the authors' code here.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.schedule_free(funcopt.sgd(0.5)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(funcopt.eval_params(tx, state, params)["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    base = chain(base_optimizer)  # which knows what to do with a gate, and with extra arguments
    check_slots(storage, [ScheduleFreeSlots])
    return ScheduleFree(base, learning_rate, b1, weight_lr_power, state_dtype, storage)
