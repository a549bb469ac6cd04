"""From rules to what users hold: a chain of rules, and the descent at its end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from jax import lax
from jaxtyping import Array, Inexact

from ..math.moments import times
from ..storage import Storage
from .arguments import Base, Rate
from .leaf import LayerAxis, Matrices
from .lift import Lifted
from .masked import MaskedRule
from .paths import Mask
from .rule import Clock, Rule, rule
from .transformation import GradientTransformation, transformation
from .tree_lift import LiftedTree
from .tree_rule import TreeRule


@rule(acts_on="element")
class Descend(Rule):
    """The step of gradient descent: minus the learning rate times the update."""

    descends = True

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param  # a step of gradient descent looks only at the direction
        assert clock.lr is not None
        # The other way round, XLA would keep a negative rate for every parameter.
        return lax.neg(times(clock.lr, grad)), slots


@rule(acts_on="element")
class Subtract(Rule):
    """Minus the update, of which the learning rate is already a part."""

    descends = True

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the rate was in the clock of the rules before
        return lax.neg(grad), slots


def _rules(where: str, x: Any) -> Any:
    """Rules for the rest, one or several; what they are is checked where they are lifted."""
    if x is None:
        return None
    if isinstance(x, Rule | MaskedRule):
        return (x,)
    if not isinstance(x, list | tuple):
        raise TypeError(
            f"{where} must be a rule or several, such as (rules.Adam(), Decay(0.1)), got {x!r}."
        )
    return tuple(x)


Otherwise = Annotated[Rule | MaskedRule | Sequence[Rule | MaskedRule] | None, _rules]
"""Rules for the leaves that are no hidden matrix: one, or several that are applied in order."""


@transformation
def lift(
    *rules: Rule | MaskedRule | TreeRule,
    otherwise: Otherwise = None,
    layer_axis: LayerAxis = None,
    matrices: Matrices = None,
    hidden: Mask = None,
    storage: Storage = None,
):
    """Make a transformation of a pytree of rules, applied one after the other.

    Args:
        rules: applied to every leaf, one after the other; or one tree rule, which looks at all
            leaves at once and is the only one then.
        otherwise: the rules for leaves that are no matrix or not `hidden`; None where `rules` are
            for all.
        layer_axis: where layers are stacked in one leaf: None for nowhere, the axis in every leaf
            of two axes or more, or a dict of axes by regular expressions that are searched in the
            path: `{"blocks/": 0}`. Rules for arrays and for matrices look at one layer at a time.
        matrices: which axes make a matrix, where a leaf has not just two beside those of layers: a
            dict from regular expressions to pairs (axes of the inputs, axes of the outputs), or
            None for what is none. Axes in neither are stacked: `{"conv": ((0, 1, 2), 3)}`.
        hidden: a mask of the leaves that may be matrices, as in `add_decayed_weights`; None for
            all.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: at `init` and `update`, a rule for matrices meets a leaf that is none, and there
            is no `otherwise`; a pattern is found in no path; a leaf has no such axis.

    >>> import funcopt
    >>> funcopt.lift(funcopt.rules.Scale(0.5), funcopt.Momentum(0.9))
    lift(rules.Scale(step_size=0.5), rules.Momentum(decay=0.9, nesterov=False))
    """
    chain = tuple(each for each in rules if not isinstance(each, TreeRule))
    if len(chain) != len(rules):
        return _lifted_tree(rules, (otherwise, layer_axis, matrices, hidden), storage)
    assert otherwise is None or isinstance(otherwise, tuple)
    return Lifted(chain, None, storage, otherwise, layer_axis, matrices, hidden)


def _lifted_tree(rules: tuple, of_arrays: tuple, storage: Storage) -> LiftedTree:
    tree_rule, *others = rules
    if others or not isinstance(tree_rule, TreeRule) or any(x is not None for x in of_arrays):
        raise TypeError(
            "lift takes one tree rule alone, since it looks at all leaves at once, got "
            f"{', '.join(map(repr, rules))}. Put transformations together with funcopt.chain; "
            "otherwise=, layer_axis=, matrices= and hidden= are for rules for arrays."
        )
    return LiftedTree(tree_rule, storage)


@transformation
def optimizer(
    *rules: Rule | MaskedRule,
    learning_rate: Rate,
    otherwise: Otherwise = None,
    layer_axis: LayerAxis = None,
    matrices: Matrices = None,
    hidden: Mask = None,
    storage: Storage = None,
):
    """Make an optimizer of rules: lift them over a tree, and descend at their end.

    Args:
        rules: applied to every leaf, one after the other, but for decays that stand before all
            others (`decays.l2`) or after the descent (the other ones of `decays`).
        learning_rate: what the outcome is multiplied by, before it is subtracted.
        otherwise, layer_axis, matrices, hidden, storage: as in `lift`; both chains share the count
            of steps and the learning rate.

    >>> import funcopt
    >>> tx = funcopt.optimizer(funcopt.rules.Adam(b1=0.8), funcopt.Decay(0.1), learning_rate=1e-3)
    >>> funcopt.current_lr(tx.init({"w": 0.0}))
    Array(0.001, dtype=float32)
    """
    assert otherwise is None or isinstance(otherwise, tuple)
    rest = None if otherwise is None else descending(*otherwise)
    return Lifted(descending(*rules), learning_rate, storage, rest, layer_axis, matrices, hidden)


def descending(*rules: Rule | MaskedRule) -> tuple[Rule | MaskedRule, ...]:
    """The rules, and the descent after them."""
    return around(rules, Descend())


def around(
    rules: Sequence[Rule | MaskedRule], *middle: Rule | MaskedRule
) -> tuple[Rule | MaskedRule, ...]:
    """The rules, then those of the middle, but for rules that have a place of their own."""

    def at(place: str) -> list[Rule | MaskedRule]:
        return [each for each in rules if _place(each) == place]

    return (*at("first"), *at("here"), *middle, *at("last"))


def _place(rule: Rule | MaskedRule) -> str:
    return getattr(rule.rule if isinstance(rule, MaskedRule) else rule, "place", "here")


def subtracted(
    *rules: Rule | MaskedRule, learning_rate: Rate, layer_axis: LayerAxis, storage: Storage
) -> Lifted:
    """An optimizer whose rules multiply by the learning rate themselves, which they read in
    `clock.lr`: for what the rate does not multiply, as a decay, or multiplies before a mean.
    """
    return Lifted(around(rules, Subtract()), learning_rate, storage, layer_axis=layer_axis)


def stepped(
    *rules: Rule | MaskedRule,
    then: Sequence[Rule],
    learning_rate: Rate,
    layer_axis: LayerAxis,
    storage: Storage,
) -> Lifted:
    """An optimizer whose last rules see steps, with the learning rate and the minus sign in them:
    for a momentum of steps.
    """
    chain = around(rules, Descend(), *then)
    return Lifted(chain, learning_rate, storage, layer_axis=layer_axis)


def after_steps(name: str, inner: Base, rule_: Rule | MaskedRule, layer_axis: LayerAxis) -> Lifted:
    """An optimizer of rules with one more after its steps, of its matrices where it knows them."""
    body: object = inner
    while isinstance(body, GradientTransformation):
        body = body.body()
    if not isinstance(body, Lifted) or body.learning_rate is None:
        raise TypeError(
            f"{name}: inner must be an optimizer of funcopt's rules with a learning rate, such as "
            f"adamw(1e-3) or muon(0.02), got {inner!r}. Put it inside of wrappers and chains: "
            f"guard({name}(adamw(1e-3)))."
        )
    if layer_axis is None:
        layer_axis = body.layer_axis
    elif body.layer_axis is not None:
        raise ValueError(
            f"{name}: layer_axis={layer_axis!r}, but inner has layer_axis={body.layer_axis!r} "
            "already, which counts. Give one of them."
        )
    return replace(body, chain=(*body.chain, rule_), layer_axis=layer_axis)


@transformation
def descend(learning_rate: Rate):
    """The descent step: minus the learning rate times the update, at the end of a chain.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.descend(0.5)
    >>> tx.update(jnp.array([2.0]), tx.init(jnp.zeros(1)))[0]
    Array([-1.], dtype=float32)
    """
    return optimizer(learning_rate=learning_rate)
