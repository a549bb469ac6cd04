"""What the rules of a transformation declare of themselves."""

import inspect
from collections.abc import Callable
from typing import Any, get_args

import funcopt

from ...core.lift import Lifted
from ...core.rule import ActsOn
from ...core.transformation import GradientTransformation
from ...core.tree_lift import LiftedTree

WIDTH = get_args(ActsOn)


def traits(thing: Any) -> tuple[str, tuple[str, ...]]:
    """What an update looks at, `""` where no rule tells; and what `update` must be given.

    >>> traits(funcopt.adamw), traits(funcopt.muon)
    (('element', ('params',)), ('matrix', ('params',)))
    >>> traits(funcopt.momo), traits(funcopt.chain)
    (('tree', ('params', 'value')), ('', ()))
    """
    if inspect.isclass(thing) and issubclass(thing, funcopt.Rule) and hasattr(thing, "acts_on"):
        return thing.acts_on, _needs([thing])
    lift = _lifted(thing)
    if isinstance(lift, LiftedTree):
        wants = {"params": lift.rule.needs_params, "value": lift.rule.needs_value}
        return "tree", tuple(name for name, needed in wants.items() if needed)
    if isinstance(lift, Lifted) and lift.rules:
        acts_on = max((rule.acts_on for rule in lift.rules), key=WIDTH.index)
        return acts_on, _needs(lift.rules)
    return "", ()


def _needs(rules: Any) -> tuple[str, ...]:
    """What rules for arrays, or classes of them, read beside gradients."""
    wants = {
        "params": any(rule.needs_params for rule in rules),
        "hessian_diagonal": any(rule.needs_hessian for rule in rules),
    }
    return tuple(name for name, needed in wants.items() if needed)


def _lifted(factory: Callable[..., Any]) -> Any:
    """What the values of a factory are made of, where one number is all that it must be given."""
    if not inspect.isfunction(factory) or not hasattr(factory, "__wrapped__"):
        return None
    try:
        value = factory(
            *[0.5] * sum(map(_required, inspect.signature(factory).parameters.values()))
        )
    except (TypeError, ValueError):  # it wants something else, such as a transformation
        return None
    while isinstance(value, GradientTransformation):
        value = value.body()
    return value


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
