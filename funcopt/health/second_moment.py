"""Which second moments there are in a state, and what their rules divide by."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..lift import Lifted, LiftedState
from ..math.moments import seen
from ..partition import path_name
from ..rules.adam import Adam
from ..rules.amsgrad import Amsgrad
from ..rules.nadam import Nadam
from ..rules.rmsprop import Rms
from ..schedules.listening import spoken
from ..value import number_at
from .inside import lifted
from .statistics import Moment


def divisors(tx: Any, before: Any, after: Any, names: list[str]) -> list[Moment | None]:
    """For each parameter what its step was divided by, None where that is not known.

    Args:
        tx: the transformation, whose rules tell their decay rate and ε.
        before, after: its state, before and after the step.
        names: the paths of the parameters.
    """
    bodies, old, new = list(lifted(tx)), list(_states(before)), list(_states(after))
    found: dict[str, Moment] = {}
    if len(bodies) == len(old) == len(new):
        for body, a, b in zip(bodies, old, new, strict=True):
            if tuple(each.slots for each in body.rules) == tuple(map(type, a.slots)):
                found = {**_of_one(body, a, b), **found}
    return [found.get(name) for name in names]


def _states(node: Any) -> Iterator[LiftedState]:
    if isinstance(node, LiftedState):
        yield node
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _states(child)


def _of_one(body: Lifted, before: LiftedState, after: LiftedState) -> dict[str, Moment]:
    _, rules = spoken((body.learning_rate, body.rules), before.feedback)
    found: dict[str, Moment] = {}
    for rule, old, new in zip(rules, before.slots, after.slots, strict=True):
        reading = _reading(rule)
        if reading is None:
            continue
        slot, decay, eps, inside, corrected = reading

        def at(x: Any) -> Array:
            return number_at("hyperparameter", x, before.count).astype(jnp.float32)

        floor, beta, t = at(eps) + jnp.sqrt(at(inside)), at(decay), before.count + 1
        one = jnp.ones([], jnp.float32)
        weights = one, one
        if corrected:
            weights = jnp.where(t > 1, seen(beta, t - 1, one.dtype), 1), seen(beta, t, one.dtype)
        trees = [old.nu, new.nu, getattr(old, slot), getattr(new, slot)]
        columns = [[x for _, x in jax.tree_util.tree_leaves_with_path(tree)] for tree in trees]
        paths = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(old.nu)]
        for name, a, b, c, d in zip(paths, *columns, strict=True):
            found[name] = Moment(a, b, c, d, beta, floor, *weights)
    return found


def _reading(rule: Any) -> tuple[str, Any, Any, Any, bool] | None:
    """The slot that a rule divides by the root of, its decay, ε outside and inside of the root."""
    if isinstance(rule, Adam):
        return "nu", rule.b2, rule.eps, rule.eps_root, rule.bias_correction
    if isinstance(rule, Nadam):
        return "nu", rule.b2, rule.eps, rule.eps_root, True
    if isinstance(rule, Amsgrad):
        return "nu_max", rule.b2, rule.eps, rule.eps_root, rule.variant == "pytorch"
    if isinstance(rule, Rms):
        outside, inside = (0.0, rule.eps) if rule.eps_in_sqrt else (rule.eps, 0.0)
        return "nu", rule.decay, outside, inside, rule.bias_correction
    return None
