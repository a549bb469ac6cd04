"""Hypergradient descent: the rate goes along the gradient of the loss with respect to it.

    h = ⟨ g_t, u_{t-1} ⟩                        how much more the last step would still have won
    α ← α (1 + κ h / (‖g_t‖ ‖u_{t-1}‖))         multiplicative
    α ← max(α + κ h, 0)                         additive
    u_t = direction(g_t)
    x ← x − α u_t

Baydin, Cornish, Martínez Rubio, Schmidt & Wood, 2018 (https://arxiv.org/abs/1703.04782), eqs. 5
and 8; u is the gradient for SGD, Adam's direction for Adam.
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp

from ..core.arguments import AxisName, Base, Choice, NonNegativeConstant
from ..core.chain import chain
from ..core.paper import ICLR, Paper
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import Reported, SignedColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, scaled
from ..math.safe import safe_divide
from ..storage import Storage

VariantName = Literal["multiplicative", "additive"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class HypergradientSlots(NamedTuple):
    last_direction: SignedColumn


class HypergradientNumbers(NamedTuple):
    """`lr` is the rate in force, α."""

    lr: Reported


@tree_rule(slots=HypergradientSlots, numbers=HypergradientNumbers)
class Hypergradient(TreeRule):
    learning_rate: NonNegativeConstant
    hyper_rate: NonNegativeConstant
    variant: VariantName
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        numbers = HypergradientNumbers(start.number(self.learning_rate))
        return HypergradientSlots(start.zeros(x)), numbers

    def update(
        self, g: Column, slots: HypergradientSlots, was: HypergradientNumbers, x: Column, step: Step
    ):
        del x  # it is for the direction, which is given it
        last = slots.last_direction
        h = step.vdot(g, last)
        if self.variant == "multiplicative":
            cosine = safe_divide(h, step.norm(g) * step.norm(last))
            lr = was.lr * (1 + self.hyper_rate * cosine)
        else:
            lr = jnp.maximum(was.lr + self.hyper_rate * h, 0)
        u, inner = step.run()
        slots = step.renew(slots, last_direction=u)
        return scaled(-lr, u), slots, HypergradientNumbers(lr), inner


HYPERGRADIENT = Paper(
    "Baydin, Atilim Gunes and Cornish, Robert and Martinez Rubio, David and Schmidt, Mark and "
    "Wood, Frank",
    "Online Learning Rate Adaptation with Hypergradient Descent",
    2018,
    "https://arxiv.org/abs/1703.04782",
    booktitle=ICLR,
)


@transformation(paper=HYPERGRADIENT)
def hypergradient(
    direction: Base,
    learning_rate: NonNegativeConstant = 1e-3,
    hyper_rate: NonNegativeConstant = 0.02,
    variant: Variant = "multiplicative",
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Hypergradient descent: learn the rate of any direction by the gradient with respect to it.

    Args:
        direction: a building block that says where to go but not how far, such as `identity()`
            (SGD), `trace(0.9)` or `scale_by_adam()`; funcopt's or optax's.
        learning_rate: the first rate, at least 0. A multiplicative one that begins at 0 stays.
        hyper_rate: κ, at least 0. Multiplicative: the largest relative change of the rate in a
            step, below 1. Additive: of the size of the rate over the squared norm of the gradient;
            the authors use 1e-4 to 1e-3 for SGD, 1e-7 for Adam.
        variant: `"multiplicative"`, which does not depend on the scale of the loss, or
            `"additive"`, where the rate is kept from going below 0, which the authors do not.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how the last direction is kept, see `funcopt.storage`.

    Slot: the last direction. `funcopt.current_lr` reads the rate.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.hypergradient(funcopt.identity()), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(300):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> float(funcopt.current_lr(state)) > 0.01
    True

    Source: https://arxiv.org/abs/1703.04782, eqs. 5 and 8.
    """
    rule = Hypergradient(learning_rate, hyper_rate, variant, axis_name)
    # A chain knows what to do with a gate, and with extra arguments.
    return LiftedTree(rule, storage, chain(direction))
