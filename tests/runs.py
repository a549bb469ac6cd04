"""Problems to run transformations on, and the runs, in JAX and in NumPy float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt
from tests.compiling import CONTRACTED
from tests.row import Row

STEPS = 50
SHAPES = {"scalar": (), "vector": (7,), "matrix": (3, 4), "block": (2, 3, 2)}


# What steps that need a loss are given, whatever the gradients: exact in float32.
LOSSES = (2 + np.cos(np.arange(STEPS))).astype(np.float32)
# The curvature that steps are given that need one, negative at some of them.
CURVATURES = (10 + 50 * np.cos(0.3 * np.arange(STEPS))).astype(np.float32)


class Problem(NamedTuple):
    """Starting parameters and one gradient per step for each leaf, exact in float32."""

    p0: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]

    def at(self, step: int) -> dict[str, np.ndarray]:
        return {leaf: g[step] for leaf, g in self.grads.items()}

    def only(self, *leaves: str) -> Problem:
        return Problem(*({leaf: part[leaf] for leaf in leaves} for part in self))

    def joined(self) -> Problem:
        """All leaves as one vector, called `""`."""
        p0 = np.concatenate([p.ravel() for p in self.p0.values()])
        grads = np.concatenate([g.reshape(len(g), -1) for g in self.grads.values()], axis=1)
        return Problem({"": p0}, {"": grads})

    def astype(self, dtype: Any) -> Problem:
        return Problem(*(jax.tree.map(lambda x: np.asarray(x, dtype), part) for part in self))


def problem(
    complex_valued: bool = False,
    steps: int = STEPS,
    seed: int = 0,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
) -> Problem:
    """Gradients of magnitudes over three decades; some are zero for some or for all steps."""
    random = np.random.default_rng(seed)

    def numbers(shape: tuple[int, ...]) -> np.ndarray:
        parts = random.standard_normal((2, *shape)).astype(np.float32)
        return parts[0] + np.complex64(1j) * parts[1] if complex_valued else parts[0]

    p0, grads = {}, {}
    for leaf, shape in shapes.items():
        p0[leaf] = numbers(shape)
        magnitude = (10 ** random.uniform(-2, 1, shape)).astype(np.float32)
        slope = numbers(shape)
        # A common part and noise, so that parameters go somewhere.
        g = (slope + numbers((steps, *shape))) * magnitude
        flat = g.reshape(steps, -1)
        flat[:5, 0] = 0
        if flat.shape[1] > 1:
            flat[:, -1] = 0
        grads[leaf] = flat.reshape(g.shape)
    return Problem(p0, grads)


class Path(NamedTuple):
    """For each leaf, after every step, the parameters, the sum of updates, and each slot."""

    params: dict[str, np.ndarray]
    way: dict[str, np.ndarray]
    slots: dict[str, dict[str, np.ndarray]]


def run(tx: Any, given: Problem, slots: tuple[str, ...] = ()) -> Path:
    """Every step of `tx`, compiled as one loop."""

    def body(carry, now):
        (params, state), (grads, loss, curvature) = carry, now
        extra = {"value": loss, "hessian_diagonal": curvature}
        updates, state = tx.update(grads, state, params, **extra)
        params = funcopt.apply_updates(params, updates)
        kept = {name: optax.tree.get(state, name) for name in slots}
        return (params, state), (params, updates, kept)

    def loop(params, *told):
        return jax.lax.scan(body, (params, tx.init(params)), told)[1]

    count = len(next(iter(given.grads.values())))
    told = LOSSES[:count], CURVATURES[:count]
    narrow = any(x.dtype in ("float32", "complex64") for x in given.p0.values())
    compiled = jax.jit(loop, compiler_options=CONTRACTED if narrow else {})
    params, updates, kept = jax.tree.map(
        np.asarray, compiled(*jax.tree.map(jnp.asarray, (*given, *told)))
    )
    # In float64, where the sum adds no rounding to that of the updates.
    way = {leaf: np.cumsum(u.astype(wide(u)), axis=0) for leaf, u in updates.items()}
    return Path(params, way, kept)


def wide(x: np.ndarray) -> Any:
    return np.complex128 if np.iscomplexobj(x) else np.float64


Number = float | Callable[[int], float]


def transcribed(
    row: Row, given: Problem, lr: Number | None = None, hyper: Mapping[str, Any] | None = None
) -> Path:
    """The same by the row's reference. `hyper` may have functions of the 0-based step.

    What acts on the tree is given all of its leaves as one vector. What looks back at where it came
    from is given its parameters in the precision in which they are kept.
    """
    if row.acts_on == "tree" and list(given.p0) != [""]:
        whole = transcribed(row, given.joined(), lr, hyper)
        slots = {name: parted(slot[""], given) for name, slot in whole.slots.items()}
        return Path(parted(whole.params[""], given), parted(whole.way[""], given), slots)
    assert row.reference is not None
    lr = row.descent_rate if lr is None else lr
    hyper = row.transcribed() if hyper is None else hyper
    params: dict[str, np.ndarray] = {}
    way: dict[str, np.ndarray] = {}
    slots: dict[str, dict[str, np.ndarray]] = {name: {} for name in row.slots}
    for leaf, p in given.p0.items():
        p = p.astype(wide(p))
        old: dict[str, np.ndarray] = {}
        path, steps, kept = [], [], {name: [] for name in row.slots}
        for index, g in enumerate(given.grads[leaf].astype(p.dtype)):
            numbers = {name: x(index) if callable(x) else x for name, x in hyper.items()}
            if row.needs_value:
                numbers["value"] = float(LOSSES[index])
            if row.needs_hessian:
                numbers["hessian_diagonal"] = float(CURVATURES[index])
            rate = lr(index) if callable(lr) else lr
            new, old = row.reference(p, g, old, index + 1, rate, **numbers)
            steps.append(new - p)
            p = new.astype(given.p0[leaf].dtype).astype(p.dtype) if row.looks_back else new
            path.append(p)
            for name in old.keys() & kept.keys():
                kept[name].append(old[name])
        params[leaf] = np.stack(path)
        way[leaf] = np.cumsum(np.stack(steps), axis=0)
        for name, steps in kept.items():
            if steps:  # a parameter need not have every slot
                slots[name][leaf] = np.stack(steps)
    return Path(params, way, slots)


def parted(path: np.ndarray, like: Problem) -> dict[str, np.ndarray]:
    """A path of vectors, leaf by leaf."""
    ends = np.cumsum([p.size for p in like.p0.values()])[:-1]
    parts = np.split(path, ends, axis=1)
    return {
        leaf: part.reshape(len(path), *p.shape)
        for (leaf, p), part in zip(like.p0.items(), parts, strict=True)
    }


def deviation(ours: np.ndarray, theirs: np.ndarray, scale: Any) -> float:
    """The largest difference, relative to `scale`; where that is 0 nothing may differ."""
    difference = np.abs(ours.astype(theirs.dtype) - theirs)
    scale = np.broadcast_to(scale, difference.shape)
    assert np.isfinite(difference).all()
    assert not difference[scale == 0].any()
    return float(np.max(difference / np.where(scale == 0, 1, scale), initial=0))


def largest(path: np.ndarray) -> np.ndarray:
    """The largest magnitude that each element has had so far."""
    return np.maximum.accumulate(np.abs(path), axis=0)


# After one gradient, what its mean has off the diagonal in its own singular vectors is rounding.
IN_OWN_BASIS = ("basis_ema",)


def worst(ours: Path, theirs: Path) -> dict[str, float]:
    """The deviations of parameters, of the way they went, and of slots, the worst of all leaves.

    Parameters are relative to the largest of their leaf, ways and slots to the largest that the
    same element has had, but for those in their own basis.
    """
    found = {"params": 0.0, "way": 0.0, **dict.fromkeys(theirs.slots, 0.0)}

    def note(what: str, x: float) -> None:
        found[what] = max(found[what], x)

    for leaf, path in theirs.params.items():
        note("params", deviation(ours.params[leaf], path, np.abs(path).max(initial=0)))
        note("way", deviation(ours.way[leaf], theirs.way[leaf], np.abs(theirs.way[leaf]).max()))
    for name, leaves in theirs.slots.items():
        for leaf in theirs.params:
            if leaf not in leaves:
                assert jax.tree.leaves(ours.slots[name][leaf]) == []
        for leaf, slot in leaves.items():
            scale = np.abs(slot).max() if name in IN_OWN_BASIS else largest(slot)
            note(name, deviation(ours.slots[name][leaf], slot, scale))
    return found
