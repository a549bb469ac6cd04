"""Groups of parameters, each with a transformation of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import OptState, Params, Updates

from ..storage import Storage, check_paths, loose, slots_named
from .description import Told, told
from .leaves import gradients_beside
from .paths import path_names, selected, some
from .refusals import foreign_state
from .transformation import State, gated, transformation
from .with_storage import kept_so, slot_names


def _is_group(tx: object) -> bool:
    return tx is None or isinstance(tx, optax.GradientTransformation)


def _checked(where: str, transforms: object) -> dict[str, optax.GradientTransformation | None]:
    if not isinstance(transforms, Mapping) or not transforms:
        raise TypeError(f"{where} must be a dict of transformations by label, got {transforms!r}.")
    for label, tx in transforms.items():
        if not _is_group(tx):
            raise TypeError(
                f"{where}[{label!r}] must be a gradient transformation, or None to leave its "
                f"parameters where they are, got {tx!r}."
            )
    return dict(transforms)


Transforms = Annotated[Mapping[str, optax.GradientTransformation | None], _checked]


def _rest(where: str, tx: object) -> object:
    if not _is_group(tx) and tx != RAISES:
        raise TypeError(
            f"{where} must be a gradient transformation, None to leave these parameters where "
            f"they are, or {RAISES!r}, got {tx!r}."
        )
    return tx


RAISES = "raises"
Otherwise = Annotated[optax.GradientTransformation | Literal["raises"] | None, _rest]


Labels = Any
"""A tree of labels, a function from parameters to one, or None."""
X = TypeVar("X")


class PartitionState(NamedTuple):
    """The state of each group that moves, by its label.

    `optax.MaskedNode` stands in it for the leaves of other groups.
    """

    inner: dict[str, OptState]

    def by_group(self) -> dict[str, OptState]:
        return self.inner


@dataclass(frozen=True)
class _Partition:
    transforms: Mapping[str, optax.GradientTransformation | None]
    param_labels: Labels
    storage: Storage = None

    @property
    def moving(self) -> dict[str, optax.GradientTransformationExtraArgs]:
        return {label: gated(tx) for label, tx in self.transforms.items() if tx is not None}

    def init(self, params: Params) -> PartitionState:
        leaves, structure = jax.tree.flatten(params)
        labels = self._labels(params)
        check_paths(self.storage, "partition", path_names(params))
        states = {}
        for label, tx in self.moving.items():
            with _named(label):
                states[label] = tx.init(jax.tree.unflatten(structure, _of(label, labels, leaves)))
        return PartitionState(states)

    def tells(self, params: Params, state: PartitionState, name: str) -> list[Told]:
        del name  # its groups have names of their own
        leaves, structure = jax.tree.flatten(params)
        labels = self._labels(params)
        stays = Told(why=("its group is None",), frozen=True)
        rows: dict[str, Iterator[Told]] = {label: repeat(stays) for label in self.transforms}
        for label, tx in self.moving.items():
            own = structure.unflatten(_of(label, labels, leaves))
            rows[label] = iter(told(tx, own, state.inner[label]))
        return [Told(group=(label,)) + next(rows[label]) for label in labels]

    def update(
        self,
        updates: Updates,
        state: PartitionState,
        params: Params | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, PartitionState]:
        if not isinstance(state, PartitionState):
            raise foreign_state("partition", type(state).__name__, PartitionState.__name__)
        self._check_groups(state)
        leaves, structure = gradients_beside(updates, params, ())
        grads, beside = [leaf.grad for leaf in leaves], [leaf.param for leaf in leaves]
        labels = self._labels(jax.tree.unflatten(structure, grads if params is None else beside))

        def group(label: str, column: Sequence[Array | None]) -> Params:
            return jax.tree.unflatten(structure, _of(label, labels, column))

        # Minus zero changes no bit of a parameter that stays.
        out: list[Array] = [-jnp.zeros_like(g) for g in grads]
        # What a group remembers that is left where it is goes along, for when it moves again.
        states = dict(state.inner)
        for label, tx in self.moving.items():
            own, at = group(label, grads), None if params is None else group(label, beside)
            with _named(label):
                new, states[label] = tx.update(own, states[label], at, **extra_args)
            fill = iter(jax.tree.leaves(new))
            out = [next(fill) if each == label else x for each, x in zip(labels, out, strict=True)]
        return jax.tree.unflatten(structure, out), PartitionState(states)

    def _check_groups(self, state: PartitionState) -> None:
        """Raise where the state has not the groups that move here, or others that are not here."""
        missing = [repr(label) for label in self.moving if label not in state.inner]
        surplus = [repr(label) for label in state.inner if label not in self.transforms]
        if missing or surplus:
            raise ValueError(
                "partition: the state was made for other groups. Groups without a state: "
                f"{some(missing)}. States without a group: {some(surplus)}. Go on with "
                "`fresh = tx.init(params)` and `state = fresh._replace(inner={**fresh.inner, "
                "label: state.inner[label], ...})` for the groups whose parameters are the same."
            )

    def _labels(self, tree: Params) -> list[str]:
        """The label of each leaf."""
        labels = self.param_labels(tree) if callable(self.param_labels) else self.param_labels
        known = set(self.transforms)
        unknown = set(jax.tree.leaves(labels)) - known
        if unknown:
            raise ValueError(
                f"partition: param_labels has {some(sorted(map(repr, unknown)))}, but transforms "
                f"has only {some(sorted(map(repr, known)))}."
            )
        columns = {
            label: selected(label if labels is None else jax.tree.map(label.__eq__, labels), tree)
            for label in self.transforms
            if label or labels is not None
        }
        found = []
        for i, name in enumerate(path_names(tree)):
            mine = [label for label, flags in columns.items() if flags[i]]
            if not mine and "" in self.transforms:
                mine = [""]
            if len(mine) != 1:
                which = some([repr(label) for label in mine])
                raise ValueError(
                    f"partition: the parameter {name!r} is in {len(mine) or 'no'} "
                    f"group{'s' * (len(mine) != 1)}{f': {which}' * bool(mine)}. The patterns in "
                    'transforms must be such that one matches it; "" takes what no other does.'
                )
            found += mine
        return found


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Say in which group something does not fit."""
    try:
        yield
    except ValueError as error:
        # JAX's own are of classes of their own, and tell what they are about.
        if type(error) is not ValueError:
            raise
        raise ValueError(f"partition, group {label!r}: {error}") from error


def _of(label: str, labels: list[str], leaves: Sequence[X]) -> list[X | optax.MaskedNode]:
    return [
        x if each == label else optax.MaskedNode() for each, x in zip(labels, leaves, strict=True)
    ]


@transformation
def partition(
    transforms: Transforms,
    param_labels: Labels = None,
    *,
    otherwise: Otherwise = RAISES,
    storage: Storage = None,
):
    """Parameter groups: give each group of parameters a transformation of its own.

    Args:
        transforms: a dict from labels to transformations; None leaves its parameters where they
            are, without any state. In a run that goes on, a group may be frozen by None; one that
            is to move again, or a new one, needs a state.
        param_labels: which label each parameter has: a tree of labels (a prefix of the parameters'
            tree is enough), or a function from parameters to one, as in optax. None: the labels
            are regular expressions that are searched in the path; `""` takes what no other does.
        otherwise: the transformation of parameters that no pattern is found in: the same as that of
            the label `""`. None leaves them where they are; `"raises"`, there must be none.
        storage: how slots are kept between steps, see `funcopt.storage`, in every group that does
            not say so itself, however deep in chains and wrappers; `storage="float32"` of a group
            keeps it in full. Slots by name are those of the groups that have them.

    Rates that are multiples of one another need no groups: see `scale_by_path` and
    `layerwise_decay`. `funcopt.reset_group` begins the state of one group anew.

    Extra arguments of `update` reach all groups. What several groups report has their labels in
    `funcopt.metrics`: `lr/bias`, and `lr/otherwise` for the group `""`. `funcopt.current_lr` is
    the rate that all groups share.

    Raises:
        TypeError: `transforms` is no dict of transformations, or `storage` does not reach one that
            is optax's.
        ValueError: a parameter is in no group or in several, a label has no transformation, a
            pattern matches no parameter, the state was made for other groups, or `storage` names a
            slot that no group has, or one that it would break.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.partition({"kernel": funcopt.sgd(0.1), "bias": funcopt.sgd(1.0), "": None})
    >>> params = {"kernel": jnp.ones(1), "bias": jnp.ones(1), "scale": jnp.ones(1)}
    >>> params, state = funcopt.step(tx, params, tx.init(params), params)
    >>> {name: float(x[0]) for name, x in params.items()}
    {'bias': 0.0, 'kernel': 0.8999..., 'scale': 1.0}
    """
    if otherwise != RAISES and ("" in transforms or param_labels is not None):
        raise ValueError(
            "partition: otherwise= is for labels that are patterns, and is the same as the label "
            f'"": got {"both" if "" in transforms else "param_labels"}.'
        )
    groups = transforms if otherwise == RAISES else {**transforms, "": otherwise}
    return _Partition(_kept_in(groups, storage), param_labels, storage)


def _kept_in(groups: Mapping[str, Any], storage: Storage) -> Mapping[str, Any]:
    """The groups, whose slots are kept as `storage` says where they do not say so themselves."""
    if storage is None:
        return groups
    told = slots_named(storage)
    if told:
        names = set().union(*map(slot_names, groups.values()))
        unknown = sorted(told - names)
        if unknown:
            raise ValueError(
                f"partition: storage names the slot {unknown[0]!r}, but the groups have only "
                f"{some(sorted(names))}."
            )
    kept = {}
    for label, tx in groups.items():
        with _named(label):
            where = f"partition, group {label!r}"
            kept[label] = None if tx is None else kept_so(where, tx, loose(storage))
    return kept


def reset_group(
    tx: optax.GradientTransformation, state: State, params: Params, group: str
) -> State:
    """Begin the state of one group anew: its moments, its count of steps and its schedules.

    For a group whose parameters were replaced, or one that was frozen and is to move: every
    `partition` in the state that has such a group gets a fresh state for it, and keeps the others.

    Args:
        tx: the transformation, a `partition` or anything around one.
        state: its state, or one in which the group is missing because it was frozen.
        params: the parameters as they are.
        group: the label, `""` for the rest.

    Raises:
        ValueError: there is no such group that moves.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.partition({"head": funcopt.adam(0.1)}, otherwise=funcopt.sgd(0.1))
    >>> params = {"body": jnp.ones(1), "head": jnp.ones(1)}
    >>> params, state = funcopt.step(tx, params, tx.init(params), params)
    >>> state = funcopt.reset_group(tx, state, params, "head")
    >>> int(state.inner["head"].count), int(state.inner[""].count)
    (0, 1)
    """
    found: list[str] = []

    def renewed(fresh: Any, old: Any) -> Any:
        if not isinstance(fresh, PartitionState):
            return old
        found.extend(fresh.inner)
        own = {group: fresh.inner[group]} if group in fresh.inner else {}
        return PartitionState({**old.inner, **own})

    def is_groups(x: Any) -> bool:
        return isinstance(x, PartitionState)

    new = jax.tree.map(renewed, tx.init(params), state, is_leaf=is_groups)
    if group not in found:
        raise ValueError(
            f"reset_group: no group {group!r} moves. Groups that do: "
            f"{some(list(map(repr, found)))}."
        )
    return new
