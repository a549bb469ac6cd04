"""The law of storage, over every row of the catalogue: slots in 8 bits are slots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.lift import Lifted
from funcopt.core.tree_lift import LiftedTree
from funcopt.storage import ByKind, declared
from funcopt.storage.kept import Coded
from tests.catalog import BLOCKS, ROWS

EVERYWHERE = ByKind("dynamic8", "log8", min_size=0, min_ndim=0, full=None)
CODECS = {"signed": "dynamic8", "nonnegative": "log8"}
STEPS = 4


def arrays(seed):
    random = np.random.default_rng(seed)
    shapes = {"kernel": (6, 34), "bias": (5,)}
    return {name: jnp.asarray(np.float32(random.standard_normal(s))) for name, s in shapes.items()}


def is_coded(x):
    return isinstance(x, Coded)


def kinds(lift):
    """What each slot of a row is declared to be."""
    if isinstance(lift, Lifted):
        classes = [rule.slots for rule in lift.rules]
    elif isinstance(lift, LiftedTree):
        classes = [lift.rule.slots]
    else:
        classes = []
    return {name: declared(slots, name) for slots in classes for name in slots._fields}


def typed(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def each_lift():
    """Rows in whose place another stands that is lifted alike and looks at as much: those are run
    by `.ci/run`, for what is kept of a slot does not depend on the rule.
    """
    cases, kinds = [], set()
    for row in ROWS + BLOCKS:
        if row.slots and "storage" in row.accepts:
            kind = type(row.lift), row.acts_on
            marks = [pytest.mark.every_row] if kind in kinds else []
            cases.append(pytest.param(row, id=row.name, marks=marks))
            kinds.add(kind)
    return pytest.mark.parametrize("row", cases)


@each_lift()
def test_slots_in_eight_bits(row):
    """One program of several steps, whose state is donated and of the types that `init` made."""
    tx, whole = row.descending(storage=EVERYWHERE), row.descending()
    params = arrays(0)
    state = tx.init(params)
    assert typed(jax.eval_shape(tx.init, params)) == typed(state)

    found = 0
    for name, kind in kinds(row.lift).items():
        slots = jax.tree.leaves(optax.tree.get(state, name), is_leaf=is_coded)
        for slot in slots:
            if kind == "exact":
                assert not is_coded(slot), name
            elif is_coded(slot):
                assert slot.codec.name == CODECS[kind], name
                found += 1
            else:
                assert slot.dtype != jnp.float32 or kind == "exact", name
    assert found or set(kinds(row.lift).values()) <= {"exact"}

    def run(tx):
        def body(carry, grads):
            return funcopt.step(tx, grads, carry[1], carry[0], **row.extra), None

        def loop(params, state, grads):
            return jax.lax.scan(body, (params, state), grads)[0]

        grads = jax.tree.map(lambda *xs: jnp.stack(xs), *(arrays(i + 1) for i in range(STEPS)))
        copy = jax.tree.map(jnp.copy, params)
        return jax.jit(loop, donate_argnums=(0, 1))(copy, tx.init(params), grads)

    (ours, after), (theirs, _) = run(tx), run(whole)
    assert typed(after) == typed(state)
    for x in jax.tree.leaves((ours, after)):
        assert bool(jnp.isfinite(jnp.asarray(x, jnp.float32)).all())
    way = [np.concatenate([np.ravel(x[n] - params[n]) for n in params]) for x in (ours, theirs)]
    cosine = np.vdot(*way) / max(np.linalg.norm(way[0]) * np.linalg.norm(way[1]), 1e-30)
    assert cosine > 0.9 or not np.any(way[1])
