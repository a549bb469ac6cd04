"""A closed gate is an exact no-op, an open one costs nothing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests.catalog import ALL, BLOCKS, ROWS, Row, each, each_kind, each_rule
from tests.compiling import FUSED

# Minus zero is what an addition of zero changes. (Subnormal parameters are zero after any addition
# that XLA does on the CPU.)
START = {
    "kernel": np.array([1.0, -2.0, 0.0, -0.0, 1e-30], np.float32),
    "bias": np.array([0.5, -0.5, -0.0, 3.0, 7.0], np.float32),
}
RANDOM = np.random.default_rng(3)
GRADS = [
    {leaf: RANDOM.standard_normal(5).astype(np.float32) * 3 for leaf in START} for _ in range(3)
]
NAN = {leaf: np.full(5, np.nan, np.float32) for leaf in START}
OPEN, CLOSED = np.bool_(True), np.bool_(False)


def arrays(tree: Any) -> Any:
    return jax.tree.map(jnp.asarray, tree)


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def begun(row: Row) -> tuple[Any, Any, Any]:
    """A transformation, parameters and a state with contents."""
    tx = row.descending()
    params = arrays(START)
    state = tx.init(params)
    _, state = tx.update(arrays(GRADS[0]), state, params, gate=jnp.asarray(OPEN), **row.extra)
    return tx, params, state


@pytest.mark.parametrize("grads", [GRADS[1], NAN], ids=["finite", "nan"])
@each(ALL)
def test_closed_gate_changes_no_bit(row, grads):
    tx, params, state = begun(row)
    new_params, new_state = funcopt.step(
        tx, arrays(grads), state, params, gate=jnp.asarray(CLOSED), **row.extra
    )
    assert bits(new_params) == bits(params)
    assert bits(new_state) == bits(state)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)


@each(BLOCKS)
def test_closed_gate_of_a_building_block(row):
    """Also without a descent after it, what comes out changes no parameter."""
    tx, params = row.make(), arrays(START)
    state = tx.init(params)
    closed = funcopt.step(tx, arrays(NAN), state, params, gate=jnp.asarray(CLOSED), **row.extra)
    assert bits(closed) == bits((params, state))


@each_rule(ALL)
def test_open_gate_is_no_gate(row):
    """But for rounding: XLA may contract products and sums in one of the two only."""
    tx, params, state = begun(row)
    grads = arrays(GRADS[1])
    plain = funcopt.step(tx, grads, state, params, **row.extra)
    gated = funcopt.step(tx, grads, state, params, gate=jnp.asarray(OPEN), **row.extra)
    assert jax.tree.structure(plain) == jax.tree.structure(gated)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(gated), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-6, atol=0)


@each_rule(ALL)
def test_steps_that_do_not_count_leave_no_trace(row):
    """Among others, they change neither the count nor the rate nor anything later."""
    tx = row.descending()

    @jax.jit
    def step(params, state, grads, gate):
        return funcopt.step(tx, grads, state, params, gate=gate, **row.extra)

    def after(steps):
        params = arrays(START)
        state = tx.init(params)
        for grads, gate in steps:
            params, state = step(params, state, grads, gate)
        return bits((params, state))

    counting = [(grads, OPEN) for grads in GRADS]
    skipped = [(NAN, CLOSED), (GRADS[2], CLOSED)]
    assert after([*skipped, counting[0], *skipped, *counting[1:], *skipped]) == after(counting)


@each(ROWS, where=lambda row: not row.fixed_rate)
def test_a_schedule_waits_for_steps_that_count(row):
    tx = row.make(funcopt.linear_schedule(1.0, 0.0, 4))
    params = arrays(START)
    state = tx.init(params)
    rates = []
    for gate in (OPEN, CLOSED, CLOSED, OPEN, CLOSED):
        gate = jnp.asarray(gate)
        _, state = tx.update(arrays(GRADS[0]), state, params, gate=gate, **row.extra)
        rates.append(float(funcopt.current_lr(state)))
    first, second = (rates[0], rates[3]) if row.own_rate else (1.0, 0.75)
    assert rates == [first, first, first, second, second]
    counts = [int(x) for _, x in optax.tree.get_all_with_path(state, "count")]
    assert counts == ([2, 2] if row.wraps else [2])


@pytest.mark.default_promotion
def test_optax_members_of_a_chain_are_gated():
    tx = funcopt.chain(optax.scale_by_adam(), optax.trace(0.9), optax.scale(-0.1))
    params = arrays(START)
    _, state = tx.update(arrays(GRADS[0]), tx.init(params), params)
    closed = funcopt.step(tx, arrays(NAN), state, params, gate=jnp.asarray(CLOSED))
    assert bits(closed) == bits((params, state))
    plain = funcopt.step(tx, arrays(GRADS[1]), state, params)
    opened = funcopt.step(tx, arrays(GRADS[1]), state, params, gate=jnp.asarray(OPEN))
    assert bits(plain) == bits(opened)


LEAF = (256, 256)


class Program(NamedTuple):
    """Bytes of temporaries, passes over an array, fusions that make a scalar, scalars in the state.

    A pass is a fusion or a copy: of a slot that is merely replaced, the one becomes the other.
    """

    temporaries: int
    passes: int
    scalars: int
    kept: int


def compiled(row: Row, gated: bool) -> Program:
    """A step whose parameters and state are donated, fused as users' are."""
    tx = row.descending()

    def step(params, state, grads, gate):
        extra = {"gate": gate} if gated else {}
        return funcopt.step(tx, grads, state, params, **extra, **row.extra)

    # What acts within arrays makes of two leaves twice the program of one.
    leaves = 2 if row.acts_on == "tree" else 1
    params = {f"w{i}": jax.ShapeDtypeStruct(LEAF, jnp.float32) for i in range(leaves)}
    state = jax.eval_shape(tx.init, params)
    gate = jax.ShapeDtypeStruct((), jnp.bool_)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params, gate)
    program = lowered.compile(FUSED)
    made = re.findall(r" = (.*?) (fusion|copy)\(", program.as_text())
    arrays = ["[256,256]" in shapes for shapes, _ in made]
    return Program(
        program.memory_analysis().temp_size_in_bytes,
        sum(arrays),
        sum(not array and kind == "fusion" for array, (_, kind) in zip(arrays, made, strict=True)),
        sum(leaf.shape != LEAF for leaf in jax.tree.leaves(state)),
    )


# Scalars, such as the count, the rate and the norm, are selected by fusions of their own.
SCALAR_BYTES = 512
ARRAY_BYTES = 4 * LEAF[0] * LEAF[1]
TURNED = "slots are kept along other axes than the rule works along, and are selected as kept"
SUMMED = "the norm is summed over an array that is chosen by itself"
VECTORS = "a vector for each axis is selected by itself"
# What a gate costs nevertheless: bytes of temporaries, passes, and why.
COSTS = {
    "adam-mini": (2 * ARRAY_BYTES, 8, TURNED),
    "polargrad": (0, 1, SUMMED),
    "polargrad-decay": (0, 1, SUMMED),
    "sm3": (4 * LEAF[0], 0, VECTORS),
    "sm3-plain": (4 * LEAF[0], 0, VECTORS),
}


# What the lift makes of a gate it makes of every rule of a kind.
@each_kind(ALL)
def test_gate_costs_nothing(row):
    """A gated step has no array among its temporaries more, and no pass over memory more."""
    plain, gated = compiled(row, gated=False), compiled(row, gated=True)
    further, passes, _ = COSTS.get(row.name, (0, 0, ""))
    more = gated.temporaries - plain.temporaries, gated.passes - plain.passes
    assert more[0] <= SCALAR_BYTES + further
    assert more[1] <= passes
    if row.name in COSTS:  # none stays in the table that need not be there
        assert more[0] > SCALAR_BYTES or more[1] > 0
    assert gated.scalars - plain.scalars <= 1 + gated.kept
