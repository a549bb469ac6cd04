"""Mechanic: learns the factor by which any optimizer's steps are multiplied.

    Δ_t = Δ_{t-1} − base update                 where the base optimizer alone would have gone
    h = ⟨ g + λ (Σ s) ‖g‖ x/‖x‖ , Δ_{t-1} ⟩      what a larger factor would have won
    for each β of 0.9, 0.99, ...:
        r ← max(β r + clip(h, −m, m) s, 0)      the reward so far
        m ← max(β m, |h| + eps)                 the largest win
        v ← β² v + h²
        s ← ( (s_init / n) m + r ) / (√v + eps)
    x_{t+1} = x_0 − (Σ s) Δ_t

Cutkosky, Defazio & Mehta, 2023 (https://arxiv.org/abs/2306.00144), algorithm 1. The clip of
h by the largest win before it, which the authors added after the paper, and eps beside |h| are
from their program in optax.

Variant "pytorch" is their PyTorch program, mechanic-pytorch 0.0.1. It has neither, begins with
m = 1e-6, and in h has x + base update for x, against the paper.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Params, Updates

from ..core.arguments import AxisName, Base, Choice, NonNegative, Positive, Within, is_tracer
from ..core.paper import NEURIPS, Paper
from ..core.rule import Exact
from ..core.transformation import chain, rates, transformation
from ..core.turn import Start, Turn
from ..math.columns import axpy, minus, norm, vdot
from ..math.safe import safe_sqrt
from ..math.varying import AxisNames
from ..storage import Storage, check_slots


def _count(where: str, x: Any) -> int:
    # optax.inject_hyperparams makes arrays of whole numbers too.
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.integer) and not is_tracer(x):
        x = x.item() if x.ndim == 0 else x
    if not isinstance(x, int | np.integer) or isinstance(x, bool):
        raise TypeError(f"{where} must be an integer from 1 to 7, got {x!r}.")
    return Within(1, 7, schedule=False, integer=True)(where, x)


Count = Annotated[int, _count]
VariantName = Literal["clipped", "pytorch"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class MechanicSlots(NamedTuple):
    x0: Exact
    delta: Exact


class MechanicState(NamedTuple):
    """`s`, `r`, `m`, `v` have one number for each β; `lr` is the learnt factor, their sum `s`."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    r: Float[Array, " n"]
    m: Float[Array, " n"]
    v: Float[Array, " n"]
    s: Float[Array, " n"]
    x0: Params
    delta: Params
    base_optimizer_state: OptState
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        own = {} if rates(self.base_optimizer_state) else {"lr": self.lr}
        return {"scale": self.lr, **own}


@dataclass(frozen=True)
class _Mechanic:
    base: optax.GradientTransformationExtraArgs
    weight_decay: Any
    eps: Any
    s_init: Any
    num_betas: int
    variant: str
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("base", "num_betas", "variant", "axis_name", "storage")

    def init(self, params: Params) -> MechanicState:
        _, start = Start.of(self, params)
        r, m, v, s = (start.varying(jnp.zeros(self.num_betas, start.real)) for _ in range(4))
        return MechanicState(
            start.count,
            start.learnt(0.0),
            r,
            m if self.variant == "clipped" else m + 1e-6,
            v,
            s,
            **start.slots(MechanicSlots, self.storage, x0=start.copies(), delta=start.zeros()),
            base_optimizer_state=self.base.init(start.tree(start.wide)),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: MechanicState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MechanicState]:
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=MechanicState,
            slots=MechanicSlots,
            value=value,
            metric=metric,
            gate=gate,
        )
        state = now.state
        if state.s.shape != (self.num_betas,):
            raise ValueError(
                f"mechanize: the state was made with num_betas={state.s.size}, each of which has "
                f"its own statistics, got num_betas={self.num_betas}. Go on with num_betas="
                f"{state.s.size}, or begin again with `tx.init(params)`."
            )
        g, x, delta = now.grads, now.params, now.column(state.delta)
        real, axis = now.real, self.axis_name
        betas = jnp.array([1 - 0.1**i for i in range(1, self.num_betas + 1)], real)

        given = {"value": value, "metric": metric, "gate": gate}
        extra_args |= {name: each for name, each in given.items() if each is not None}
        base_updates, base_state = self.base.update(
            updates, state.base_optimizer_state, jax.tree.unflatten(now.structure, x), **extra_args
        )

        displacement = now.column(base_updates)
        clipped = self.variant == "clipped"
        at = x if clipped else axpy(1, x, displacement)
        total = jnp.sum(state.s)
        pull = h.weight_decay * total * norm(g, real, axis) / (norm(at, real, axis) + h.eps)
        win = vdot(axpy(pull, at, g), delta, real, axis)
        won = jnp.clip(win, -state.m, state.m) if clipped else win
        r = jnp.maximum(betas * state.r + won * state.s, 0)
        m = jnp.maximum(betas * state.m, jnp.abs(win) + (h.eps if clipped else 0))
        v = betas**2 * state.v + win**2
        s = (h.s_init / self.num_betas * m + r) / (safe_sqrt(v) + h.eps)

        total = jnp.sum(s)
        delta = minus(delta, displacement)
        state = now.renew(lr=total, r=r, m=m, v=v, s=s, delta=delta)
        state = MechanicState(**{**state._asdict(), "base_optimizer_state": base_state})
        delta, x0 = now.column(state.delta), now.column(state.x0)
        # x_0 − x first: what is near each other loses no digits.
        return now.leave(axpy(-total, delta, minus(x0, x))), state


MECHANIC = Paper(
    "Cutkosky, Ashok and Defazio, Aaron and Mehta, Harsh",
    "Mechanic: A Learning Rate Tuner",
    2023,
    "https://arxiv.org/abs/2306.00144",
    booktitle=NEURIPS,
)


@transformation(paper=MECHANIC)
def mechanize(
    base_optimizer: Base,
    weight_decay: NonNegative = 1e-2,
    eps: Positive = 1e-8,
    s_init: Positive = 1e-6,
    num_betas: Count = 6,
    variant: Variant = "clipped",
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Learn the factor of an optimizer's steps, so that its rate need not be tuned.

    Args:
        base_optimizer: a funcopt or optax optimizer, at rate 1 or a schedule that falls from 1.
            Not one whose steps do not depend on where it is, such as LARS or LAMB.
        weight_decay: λ above: pulls towards 0 by shrinking the factor; it is not AdamW's.
        eps: above 0, added to what divides.
        s_init: the first factor, an underestimate, above 0.
        num_betas: how many decay rates 0.9, 0.99, ... are run beside each other, 1 to 7.
        variant: `"clipped"`, the algorithm above, or `"pytorch"`, the authors' PyTorch program.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    `funcopt.metrics` has the factor as `scale`, beside the base optimizer's `lr`. Slots: starting
    point and the base optimizer's displacement. optax (0.2.8) recomputes the latter from the
    parameters, of which little is left in float32 while the factor is small, and lets rewards go
    below 0, which the paper and the PyTorch program do not.

    `variant="pytorch"` with `s_init=1e-8` gives the numbers of mechanic-pytorch 0.0.1 with
    `store_delta=True`; without, it recomputes the displacement too. Its first factor is about
    1e-6 / eps times `s_init`, not `s_init`, and its pull towards 0 is taken where the base
    optimizer alone would go from x, not at x as in the paper.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.mechanize(funcopt.sgd(1.0)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2306.00144, algorithm 1.
    """
    check_slots(storage, [MechanicSlots])
    return _Mechanic(
        chain(base_optimizer), weight_decay, eps, s_init, num_betas, variant, axis_name, storage
    )
