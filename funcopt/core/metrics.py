"""What a state tells: the metrics, and the learning rate in force."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from optax import OptState

from .paths import path_name


def metrics(state: Any) -> dict[str, Float[Array, ""]]:
    """The metrics in a state, as a flat dict: learning rate, norms, clip ratio, skipped steps, ...

    Works on any nesting of states, funcopt's and optax's, inside and outside of `jit`. Where a
    name occurs twice, its group in a `partition` stands behind it, as in `lr/kernel`, and
    `lr/otherwise` for the group `""`; where the group does not tell, the path of its state stands
    before it.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.5))
    >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> {name: float(x) for name, x in funcopt.metrics(state).items()}
    {'grad_norm': 5.0, 'clip_ratio': 0.2..., 'clipped': 1.0, 'lr': 0.5}
    """
    _refuse_transformation("metrics", state)
    return {name: jnp.asarray(x, jnp.float32) for name, x in _named(reports(state)).items()}


def _refuse_transformation(name: str, state: Any) -> None:
    if isinstance(state, optax.GradientTransformation):
        raise TypeError(
            f"{name} takes a state, got the transformation {state!r}. `tx.init(params)` makes one, "
            "and `tx.update` returns the next."
        )


class Report(NamedTuple):
    """One number that a state tells, and where: the path of the state, and its groups."""

    name: str
    path: str
    groups: tuple[str, ...]
    number: Any


def reports(state: Any) -> list[Report]:
    """Every number that a state below `state` tells."""
    return list(_reports(state, "", ()))


def _reports(node: Any, path: str, groups: tuple[str, ...]) -> Iterator[Report]:
    if hasattr(node, "_fields") and hasattr(node, "metrics"):
        for name, x in node.metrics().items():
            yield Report(name, path, groups, x)
    by_group = _by_group(node)
    if by_group is not None:
        for label, child in by_group.items():
            yield from _reports(child, _below(path, label), (*groups, label or "otherwise"))
        return
    below, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    for key, child in below:
        if child is not node:
            yield from _reports(child, _below(path, path_name(key)), groups)


def _below(path: str, name: str) -> str:
    return "/".join(filter(None, [path, name]))


def _by_group(state: Any) -> dict[str, OptState] | None:
    """The states of the groups of a `partition`, funcopt's or optax's."""
    if isinstance(state, optax.MultiTransformState):
        return {str(label): each for label, each in state.inner_states.items()}
    return state.by_group() if hasattr(type(state), "by_group") else None


def _named(found: list[Report]) -> dict[str, Any]:
    """The numbers by the shortest names that tell them apart."""
    short = Counter(each.name for each in found)
    grouped = ["/".join([each.name, *each.groups]) for each in found]
    whole = Counter(grouped)
    names = {}
    for each, name in zip(found, grouped, strict=True):
        if short[each.name] == 1:
            name = each.name
        elif not each.groups or whole[name] > 1:
            name = f"{each.path}/{each.name}"
        names[name] = each.number
    return names


def rates(state: Any) -> dict[str, Any]:
    """The learning rates that a state reports, by the names that `metrics` gives them."""
    found = reports(state)
    named = _named(found)
    return {
        name: x for (name, x), each in zip(named.items(), found, strict=True) if each.name == "lr"
    }


def current_lr(state: Any) -> Float[Array, ""]:
    """The learning rate in force: of the last update, before that of the first one to come.

    The groups of a `partition` may share one. Inside of `jit` nobody knows whether they do: what
    comes is NaN in a step in which they do not.

    Raises:
        ValueError: the state holds no learning rate, or several that differ; `metrics` shows them
            all.

    >>> import funcopt
    >>> tx = funcopt.adam(0.25)
    >>> float(funcopt.current_lr(tx.init({"w": 1.0})))
    0.25
    """
    _refuse_transformation("current_lr", state)
    found = {name: jnp.asarray(x, jnp.float32) for name, x in rates(state).items()}
    if not found:
        raise ValueError(
            "The state holds no learning rate. funcopt.metrics(state) shows everything it reports."
        )
    first, *others = found.values()
    if any(isinstance(x, jax.core.Tracer) for x in found.values()):
        same = [first == x for x in others]
        return jnp.where(jnp.all(jnp.stack(same), axis=0), first, jnp.nan) if same else first
    if all(np.array_equal(first, x) for x in others):
        return first
    differ = ", ".join(f"{name} {x}" for name, x in found.items())
    raise ValueError(
        f"The state holds {len(found)} learning rates that differ: {differ}. "
        "funcopt.metrics(state) has each of them by its name."
    )
