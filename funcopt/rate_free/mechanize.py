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

from numbers import Integral
from typing import Annotated, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import (
    AxisName,
    Base,
    Choice,
    Hyperparameter,
    NonNegative,
    Positive,
    Within,
    is_tracer,
)
from ..core.paper import NEURIPS, Paper
from ..core.record import Static
from ..core.transformation import chain, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import (
    ExactColumn,
    Number,
    OutermostAs,
    ReportedAs,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, minus
from ..math.safe import safe_sqrt
from ..storage import Storage
from ..transforms.decay_rules import DecayAmong


def _count(where: str, x: object) -> int:
    # optax.inject_hyperparams makes arrays of whole numbers too.
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.integer) and not is_tracer(x):
        x = x.item() if x.ndim == 0 else x
    if not isinstance(x, Integral) or isinstance(x, bool):
        raise TypeError(f"{where} must be an integer from 1 to 7, got {x!r}.")
    return Within(1, 7, schedule=False, integer=True)(where, x)


OwnDecay = Annotated[
    Hyperparameter,
    DecayAmong(
        (),
        "this one pulls on the factor that it learns, not on parameters; give a decay to the base "
        "optimizer",
    ),
]
Count = Annotated[int, _count, Static]
VariantName = Literal["clipped", "pytorch"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class MechanicSlots(NamedTuple):
    x0: ExactColumn
    delta: ExactColumn


class MechanicNumbers(NamedTuple):
    """`s`, `r`, `m`, `v` have one number for each β; `lr` is the learnt factor, their sum `s`."""

    lr: Annotated[Array, ReportedAs("scale"), OutermostAs("lr")]
    r: Number
    m: Number
    v: Number
    s: Number


@tree_rule(slots=MechanicSlots, numbers=MechanicNumbers)
class Mechanic(TreeRule):
    weight_decay: NonNegative
    eps: Positive
    s_init: Positive
    num_betas: Count
    variant: VariantName
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        none = jnp.zeros(self.num_betas, start.real)
        m = none if self.variant == "clipped" else none + 1e-6
        numbers = MechanicNumbers(start.number(0), none, m, none, none)
        return MechanicSlots(x, start.zeros(x)), numbers

    def update(self, g: Column, slots: MechanicSlots, was: MechanicNumbers, x: Column, step: Step):
        n, (u, inner) = self.num_betas, step.run()
        if was.s.shape != (n,):
            raise ValueError(
                f"mechanize: the state was made with num_betas={was.s.size}, each of which has "
                f"its own statistics, got num_betas={n}. Go on with num_betas={was.s.size}, or "
                "begin again with `tx.init(params)`."
            )
        betas = jnp.array([1 - 0.1**i for i in range(1, n + 1)], step.real)
        clipped = self.variant == "clipped"
        at = x if clipped else axpy(1, x, u)
        pull = self.weight_decay * jnp.sum(was.s) * step.norm(g) / (step.norm(at) + self.eps)
        h = step.vdot(axpy(pull, at, g), slots.delta)
        won = jnp.clip(h, -was.m, was.m) if clipped else h
        r = jnp.maximum(betas * was.r + won * was.s, 0)
        m = jnp.maximum(betas * was.m, jnp.abs(h) + (self.eps if clipped else 0))
        v = betas**2 * was.v + h**2
        s = (r + self.s_init / n * m) / (safe_sqrt(v) + self.eps)
        total = jnp.sum(s)
        slots = step.renew(slots, delta=minus(slots.delta, u))
        # x_0 − x first: what is near each other loses no digits.
        steps = axpy(-total, slots.delta, minus(slots.x0, x))
        return steps, slots, MechanicNumbers(total, r, m, v, s), inner


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
    weight_decay: OwnDecay = 1e-2,
    eps: Positive = 1e-8,
    s_init: Positive = 1e-6,
    num_betas: Count = 6,
    variant: Variant = "clipped",
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Mechanic: learn a scale factor for any optimizer, so that its rate need not be tuned.

    Args:
        base_optimizer: a funcopt or optax optimizer, at rate 1 or a schedule that falls from 1.
            Not one whose steps do not depend on where it is, such as LARS or LAMB.
        weight_decay: λ above: pulls towards 0 by shrinking the factor; it is not AdamW's. It has
            no `mask`, since the one factor is that of all parameters.
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
    rule = Mechanic(weight_decay, eps, s_init, num_betas, variant, axis_name)
    # A chain knows what to do with a gate, and with extra arguments.
    return LiftedTree(rule, storage, chain(base_optimizer))
