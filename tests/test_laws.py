"""The laws of a transformation, over every row of the catalogue.

Arrays are tiny and of one shape, so that the rules of a row compile once. Where optax's or
another library's wrapper is around a row, operations run one by one (`jax.disable_jit`): what is
tested is what the wrapper does with the row, not XLA.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.arguments import Fraction
from funcopt.core.record import annotations
from tests.catalog import ALL, BLOCKS, NESTED, ROWS, Row, each, each_kind, each_rule
from tests.defects import structure

BY_NAME = {row.name: row for row in ALL}
WITH_NUMBERS = [row for row in ALL if jax.tree.leaves(row.make())]
others = pytest.mark.default_promotion  # for tests that run other libraries' code

# float32, and numbers that are traced instead of known in Python: 1 - 0.999 is then 1.3e-5 off.
TRACED = 2e-5
ROUNDED = 2e-6


def params_of(dtype: str = "float32") -> dict[str, Any]:
    return {"kernel": jnp.array([1.0, -2.0], dtype), "bias": jnp.array([0.5, 0.25], dtype)}


def grads_of(dtype: str = "float32", step: int = 0) -> dict[str, Any]:
    sign = (-1) ** step
    return {
        "kernel": jnp.array([0.5, -3.0 * sign], dtype),
        "bias": jnp.array([sign * 0.125, 2.0], dtype),
    }


def steps(tx: Any, count: int = 2, dtype: str = "float32", **extra: Any) -> tuple[Any, Any]:
    params = params_of(dtype)
    state = tx.init(params)
    for i in range(count):
        params, state = funcopt.step(tx, grads_of(dtype, i), state, params, **extra)
    return params, state


@pytest.fixture(autouse=True)
def traces():
    """chex counts traces by name and line; each row is to begin with none."""
    chex.clear_trace_counter()


@cache
def trained(name: str) -> tuple[Any, Any]:
    """Parameters and state after two steps of a row, which most laws compare with."""
    row = BY_NAME[name]
    return steps(row.descending(), **row.extra)


@contextmanager
def one_by_one(row: Row) -> Iterator[Callable[..., Any]]:
    """Operations run one by one, which compiles the fewest programs; those of a monitor are so
    many that its update is a program, by what this gives.
    """
    if row.records_value:
        yield jax.jit
        return
    with jax.disable_jit():
        yield lambda update: update


def close(a: Any, b: Any, rtol: float = ROUNDED) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = (np.asarray(each, np.float64) for each in (x, y))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.abs(y).max(initial=0))


def avals(tree: Any) -> Any:
    """Shape, dtype and weakness of every leaf, in its tree."""
    return jax.tree.map(lambda x: jax.typeof(x).str_short() + "~" * jax.typeof(x).weak_type, tree)


# --- value ---------------------------------------------------------------------------------------


@each(ALL)
def test_is_optax_s_class_and_unpacks(row):
    tx = row.make()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert isinstance(tx, optax.GradientTransformation)
    init, update = tx
    assert (init, update) == (tx.init, tx.update)
    assert optax.with_extra_args_support(tx) is tx


@each(ROWS + BLOCKS)
def test_leaves_are_the_numeric_hyperparameters(row):
    rate = () if row.rate is None else (row.rate,)
    bound = inspect.signature(row.algorithm).bind(*rate, **row.kwargs)
    bound.apply_defaults()
    told = annotations(inspect.unwrap(row.algorithm))
    arguments = [x for name, x in bound.arguments.items() if told.get(name) != Fraction]
    # Integers count steps, and shapes follow from a fraction.
    numbers = [x for x in jax.tree.leaves(arguments) if type(x) is float]
    assert jax.tree.leaves(row.make()) == numbers


@each(NESTED)
def test_leaves_of_a_composition_are_those_of_its_members(row):
    assert 0.05 in jax.tree.leaves(row.make())
    assert all(isinstance(x, float) for x in jax.tree.leaves(row.make()))


@each(ALL)
def test_equality_and_hash(row):
    tx, again = row.make(), row.make()
    assert tx == again
    assert (tx != again) is False
    assert hash(tx) == hash(again)
    assert len({tx, again}) == 1
    assert tx != (tx.init, tx.update)
    leaves, structure = jax.tree.flatten(tx)
    assert jax.tree.unflatten(structure, leaves) == tx
    for i in range(len(leaves)):
        other = [min(x, 1.0) / 2 + 0.001 if i == j else x for j, x in enumerate(leaves)]
        assert jax.tree.unflatten(structure, other) != tx


@each(ALL)
def test_copies_are_equal_and_work(row):
    tx = row.make()
    for twin in (
        pickle.loads(pickle.dumps(tx)),
        copy.copy(tx),
        copy.deepcopy(tx),
        eval(repr(tx), dict(vars(funcopt))),
        jax.tree.map(lambda x: x, tx),
    ):
        assert twin == tx
        assert repr(twin) == repr(tx)
        assert hash(twin) == hash(tx)
        chex.assert_trees_all_equal(twin.init(params_of()), tx.init(params_of()))


@each(ROWS, where=lambda row: not row.fixed_rate)
def test_value_of_schedules_and_arguments_that_are_no_numbers(row):
    """A schedule inside is part of the value: it prints, compares, hashes and pickles with it."""
    schedule = funcopt.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100, end_value=1e-5)
    changes = {name: funcopt.linear_schedule(*ends, 7) for name, ends in row.scheduled.items()}
    changes |= {"mask": ["!bias", "kernel"]} if row.masked else {}
    changes |= {"mu_dtype": "bfloat16"} if "mu_dtype" in row.accepts else {}
    inner = row.make(schedule, **changes)
    outer = funcopt.chain(funcopt.clip(1.0), funcopt.chain(inner, funcopt.identity()))
    for tx in (inner, outer):
        assert eval(repr(tx), dict(vars(funcopt))) == tx
        assert pickle.loads(pickle.dumps(tx)) == tx
        assert hash(copy.deepcopy(tx)) == hash(tx)
        assert 1e-3 in jax.tree.leaves(tx)
    assert inner != row.make(funcopt.linear_schedule(1.0, 0.0, 3), **changes)


@each_kind(tuple(WITH_NUMBERS))
def test_three_settings_compile_once(row):
    """And a transformation that is passed as an argument computes what a closed-over one does."""

    @jax.jit
    @chex.assert_max_traces(n=1)
    def compiled(tx):
        return steps(tx, **row.extra)

    tx = row.descending()
    for factor in (0.9, 0.95, 1.0):
        last = compiled(jax.tree.map(lambda x, factor=factor: factor * x, tx))
    close(last, trained(row.name), TRACED)


@each_kind(tuple(WITH_NUMBERS))
def test_vmap_over_32_settings_is_32_runs(row):
    leaves, structure = jax.tree.flatten(row.descending())
    batch = leaves[0] * np.linspace(0.5, 1.0, 32, dtype=np.float32)
    tx = jax.tree.unflatten(structure, [jnp.asarray(batch), *leaves[1:]])
    assert jax.tree.leaves(tx.in_axes, is_leaf=lambda x: x is None) == [0] + [None] * (
        len(leaves) - 1
    )
    run = jax.jit(partial(steps, **row.extra))
    together, _ = jax.vmap(run, in_axes=(tx.in_axes,))(tx)
    for i, number in enumerate(batch):
        alone, _ = run(jax.tree.unflatten(structure, [jnp.asarray(number), *leaves[1:]]))
        close(jax.tree.map(lambda x, i=i: x[i], together), alone, TRACED)


@each_kind(ROWS)
def test_vmap_over_a_rate_that_is_closed_over(row):
    rates = jnp.array([0.5, 1.0], jnp.float32) * row.rate
    together = jax.vmap(lambda rate: steps(row.make(rate), **row.extra)[0])(rates)
    close(jax.tree.map(lambda x: x[1], together), trained(row.name)[0])


@each_kind(tuple(WITH_NUMBERS))
def test_gradient_with_respect_to_the_transformation_is_finite(row):
    def loss(tx):
        params, _ = steps(tx, 2 + row.silent_steps, **row.extra)
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(params))

    slopes = jax.jit(jax.grad(loss))(jax.tree.map(jnp.float32, row.descending()))
    assert isinstance(slopes, funcopt.GradientTransformation)
    chex.assert_tree_all_finite(slopes)
    assert any(float(jnp.abs(slope)) > 0 for slope in jax.tree.leaves(slopes))


def test_hypergradient_is_the_slope():
    """Of the loss after one step of gradient descent from 1 on x²/2, where it is known."""

    def loss(tx):
        params, _ = funcopt.step(tx, jnp.ones([]), tx.init(jnp.ones([])), jnp.ones([]))
        return params**2 / 2

    slope = jax.grad(loss)(jax.tree.map(jnp.float32, funcopt.sgd(0.25)))
    assert float(slope.arguments["learning_rate"]) == pytest.approx(-0.75)


# --- precision -----------------------------------------------------------------------------------


# What divides by zero does so in both types.
@pytest.mark.parametrize(
    "dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.every_row)]
)
@each_rule(ALL)
def test_zero_gradients(row, dtype):
    along_zeros(row, dtype)


# A rule sees float32, whichever half precision its leaf is in.
@each_kind(ALL)
def test_zero_gradients_in_float16(row):
    along_zeros(row, "float16")


def along_zeros(row, dtype):
    tx, params = row.descending(), params_of(dtype)
    zero = jax.tree.map(jnp.zeros_like, params)
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(zero, state, params, **row.extra)
        chex.assert_tree_all_finite((updates, state))
    moved = any(bool(jnp.any(u != 0)) for u in jax.tree.leaves(updates))
    assert moved == row.moves_on_zero_gradient


@each_rule(ROWS, where=lambda row: not row.fixed_rate)
def test_a_first_rate_of_zero(row):
    """A warm-up from 0 moves nothing at first and breaks nothing later, zero gradients or not."""
    tx = row.make(funcopt.linear_warmup(row.rate, 3, init_value=0.0))
    params = params_of("bfloat16")
    state = tx.init(params)
    zero = jax.tree.map(jnp.zeros_like, params)
    step = jax.jit(partial(funcopt.step, tx))
    for i, grads in enumerate((zero, grads_of("bfloat16"), zero, grads_of("bfloat16", 1))):
        before = params
        params, state = step(grads, state, params, **row.extra)
        chex.assert_tree_all_finite((params, state))
        if i == 0:
            assert row.moves_on_zero_gradient or float(funcopt.current_lr(state)) == 0
            chex.assert_trees_all_equal(params, before)
    alone = tx.init(before)
    moved, alone = step(grads_of("bfloat16"), alone, before, **row.extra)
    chex.assert_trees_all_equal(moved, before)
    assert float(funcopt.current_lr(alone)) == 0


MIXED = [
    (p, g)
    for p in ("float32", "bfloat16", "float16")
    for g in ("float32", "bfloat16", "float16")
    if p != g
]


def kept_types(row, state, name):
    """The types of a slot that holds no count."""
    kept = [x.dtype for x in jax.tree.leaves(optax.tree.get(state, name))]
    assert kept or row.uneven
    return {x.name for x in kept if x != jnp.int32}


@each_rule(ALL)
def test_types_are_fixed_at_init(row):
    """Whatever the gradients' dtype: slots float32, updates like parameters, the state as it was.

    The state's type is a fixed point of the step, so that one compilation serves every step.
    """
    tx = row.descending()
    for param, grad in [("float32", "float32"), *MIXED]:
        params = jax.eval_shape(lambda param=param: params_of(param))
        grads = jax.eval_shape(lambda grad=grad: grads_of(grad))
        state = jax.eval_shape(tx.init, params)
        update = partial(tx.update, **row.extra)
        updates, after = jax.eval_shape(update, grads, state, params)
        wanted = params if not row.lands else jax.eval_shape(params_of)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, wanted)
        chex.assert_trees_all_equal_structs(after, state)
        assert avals(after) == avals(state)
        for name in row.slots:
            assert kept_types(row, state, name) <= {"float32"}


@each_kind(ALL)
def test_one_compilation_scan_and_donation(row):
    """bf16 parameters, float32 gradients: params and state are donated, together and twice."""
    tx = row.descending()

    @chex.assert_max_traces(n=1)
    def step(params, state, grads):
        return funcopt.step(tx, grads, state, params, **row.extra)

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params = params_of("bfloat16")
    state = tx.init(params)
    grads = [grads_of("float32", i) for i in range(3)]
    for g in grads:
        params, state = compiled(params, state, g)
    chex.assert_tree_all_finite((params, state))

    def body(carry, g):
        return funcopt.step(tx, g, carry[1], carry[0], **row.extra), None

    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *grads)
    start = params_of("bfloat16")
    (scanned, _), _ = jax.lax.scan(body, (start, tx.init(start)), stacked)
    close(scanned, params, 2**-7)


@each_kind(ALL, where=lambda row: "mu_dtype" in row.accepts)
def test_mu_dtype_keeps_means_of_gradients_and_nothing_else(row):
    _, state = steps(row.descending(mu_dtype="bfloat16"), **row.extra)
    for name in row.slots:
        want = "bfloat16" if name in ("mu", "m1", "m2") else "float32"
        assert kept_types(row, state, name) <= {want}


@each(ROWS + BLOCKS, where=lambda row: row.slots and "storage" in row.accepts)
def test_storage_keeps_directions_in_half_and_the_rest_in_full(row):
    """Wherever the half-precision slots lead is near to where float32 leads."""
    tx = row.descending(storage="bfloat16")
    params, state = steps(tx, count=6, **row.extra)
    for name in row.slots:
        want = "bfloat16" if name in row.halved else "float32"
        assert kept_types(row, state, name) <= {want}
    assert avals(state) == avals(tx.init(params))
    full, _ = steps(row.descending(), count=6, **row.extra)
    for x, y, start in zip(*map(jax.tree.leaves, (params, full, params_of())), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=0.03 * float(jnp.abs(y - start).max()))
    for name in set(row.slots) - set(row.halved):
        with pytest.raises(ValueError, match=rf"storage\['{name}'\] = 'bfloat16'.*float32"):
            row.make(storage={name: "bfloat16"})


# --- state ---------------------------------------------------------------------------------------


@each_kind(ALL)
def test_init_is_abstract_too_and_aliases_nothing(row):
    tx, params = row.descending(), params_of()
    state = tx.init(params)
    assert avals(jax.eval_shape(tx.init, params)) == avals(state)
    chex.assert_trees_all_equal(jax.jit(tx.init)(params), state)
    pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((params, state))]
    assert len(set(pointers)) == len(pointers)


@each(ALL, where=lambda row: not row.uneven)
def test_slots_are_trees_like_the_parameters(row):
    """Those of `uneven` rows are looked at in `test_matrices.py`."""
    _, state = trained(row.name)
    for name in row.slots:
        slot = optax.tree.get(state, name)
        chex.assert_trees_all_equal_structs(slot, params_of())
        for kept, param in zip(*map(jax.tree.leaves, (slot, params_of())), strict=True):
            assert kept.shape in (param.shape, ())
    counts = optax.tree.get_all_with_path(state, "count")
    assert all(int(x) == 2 and x.dtype == jnp.int32 for _, x in counts)
    for leaf in jax.tree.leaves(state):
        assert isinstance(leaf, jax.Array)
        assert not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


class Pair(NamedTuple):
    first: Any
    second: Any


@each_kind(ALL)
def test_nested_trees_none_and_empty_leaves(row):
    """Containers in containers, None, a 0-d and a size-0 leaf."""
    tx = row.descending()

    def tree(x, scalar, empty):
        return {"list": [x, (x, None)], "pair": Pair(scalar, {"": empty}), "none": None}

    params = tree(jnp.array([1.0, -2.0]), jnp.array(0.5), jnp.zeros((0, 3)))
    grads = tree(jnp.array([0.5, -3.0]), jnp.array(2.0), jnp.zeros((0, 3)))
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(grads, state, params, **row.extra)
        chex.assert_trees_all_equal_structs(updates, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        params = funcopt.apply_updates(params, updates)
    chex.assert_tree_all_finite((params, state))
    assert params["none"] is None
    if not row.random:
        chex.assert_trees_all_equal(params["list"][0], params["list"][1][0])


@each_kind(ALL)
def test_empty_tree(row):
    tx = row.descending()
    for empty in ({}, (), {"a": [None]}):
        state = tx.init(empty)
        updates, state = tx.update(empty, state, empty, **row.extra)
        chex.assert_trees_all_equal_structs(updates, empty)
        assert all(int(x) == 1 for _, x in optax.tree.get_all_with_path(state, "count"))


@each_kind(ALL)
def test_other_containers_at_update_than_at_init(row):
    """Flax NNX wraps leaves before `init` and not before `update`: the leaves' order decides."""
    tx, params = row.descending(), params_of()
    wrapped = {name: {"value": x} for name, x in params.items()}
    state = tx.init(wrapped)
    updates, state = tx.update(grads_of(), state, params, **row.extra)
    expected, _ = tx.update(grads_of(), tx.init(params), params, **row.extra)
    chex.assert_trees_all_equal(updates, expected)
    chex.assert_trees_all_equal_structs(state, tx.init(wrapped))


@each_kind(ALL)
def test_unknown_extra_arguments_are_ignored(row):
    """Also under jit, where they may be functions: `update` is never jitted as a whole."""
    tx = row.descending()
    extra = {**row.extra, "value": 2.0, "value_fn": lambda params: 0.0, "words": "any"}
    plain = steps(tx, value=2.0) if row.records_value else trained(row.name)
    chex.assert_trees_all_equal(steps(tx, **extra), plain)
    jax.jit(lambda: steps(tx, **extra)).trace()


@each_rule(ALL)
def test_same_numbers_with_and_without_jit(row):
    compiled = jax.jit(lambda: steps(row.descending(), **row.extra))
    close(compiled(), trained(row.name))


@others
@each_kind(ROWS)
def test_serialization(row):
    _, state = trained(row.name)
    blank = row.descending().init(params_of())
    back = flax.serialization.from_bytes(blank, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(back, state)
    chex.assert_trees_all_equal_structs(back, state)
    words = flax.serialization.to_state_dict(state)
    chex.assert_trees_all_equal(flax.serialization.from_state_dict(blank, words), state)


# --- other libraries' wrappers -------------------------------------------------------------------


@others
@each_kind(ALL)
def test_tree_map_params(row):
    """optax finds what is shaped like parameters: the slots, and nothing else."""
    tx = row.descending()
    _, state = trained(row.name)
    marked = optax.tree_map_params(tx, lambda x: jnp.full_like(x, 7), state)
    for name in row.slots:
        assert all(bool((x == 7).all()) for x in jax.tree.leaves(optax.tree.get(marked, name)))
    for _, count in optax.tree.get_all_with_path(marked, "count"):
        assert int(count) == 2


@others
@each_kind(ALL)
def test_inside_masked(row):
    with one_by_one(row) as program:
        tx = optax.masked(row.descending(), {"kernel": True, "bias": False})
        params = params_of()
        updates, state = program(tx.update)(grads_of(), tx.init(params), params, **row.extra)
        alone = {"kernel": params["kernel"]}
        inner = row.descending()
        kernel = {"kernel": grads_of()["kernel"]}
        expected, _ = program(inner.update)(kernel, inner.init(alone), alone, **row.extra)
    close(updates["kernel"], expected["kernel"])
    chex.assert_trees_all_equal(updates["bias"], grads_of()["bias"])
    for name in row.slots:
        assert isinstance(optax.tree.get(state, name)["bias"], optax.MaskedNode)


@others
@each_kind(ALL)
def test_inside_multi_steps(row):
    """Two half steps of the same gradient are one."""
    with one_by_one(row) as program:
        tx = optax.MultiSteps(row.descending(), every_k_schedule=2)
        params = params_of()
        state = tx.init(params)
        update = program(tx.update)
        for i in (0, 0, 1, 1):
            updates, state = update(grads_of(step=i), state, params, **row.extra)
            params = optax.apply_updates(params, updates)
    close(params, trained(row.name)[0])


@others
@each_kind(ALL)
def test_inside_apply_if_finite(row):
    with one_by_one(row) as program:
        tx = optax.apply_if_finite(row.descending(), max_consecutive_errors=3)
        params = params_of()
        state = tx.init(params)
        update = program(tx.update)
        broken = jax.tree.map(lambda g: g * jnp.nan, grads_of())
        for grads in (grads_of(step=0), broken, grads_of(step=1)):
            updates, state = update(grads, state, params, **row.extra)
            params = optax.apply_updates(params, updates)
    close(params, trained(row.name)[0])
    assert int(state.total_notfinite) == 1


@others
@each_kind(ROWS)
def test_inside_inject_hyperparams(row):
    with jax.disable_jit():
        tx = optax.inject_hyperparams(row.factory, structure(row.factory))(row.rate)
        params, state = steps(tx, **row.extra)
    close(params, trained(row.name)[0], TRACED)
    assert float(state.hyperparams[row.rate_name]) == pytest.approx(row.rate)


@others
@each_kind(ROWS)
def test_inside_partition(row):
    labels = {"kernel": "trained", "bias": "frozen"}
    with jax.disable_jit():
        tx = optax.partition({"trained": row.make(), "frozen": optax.set_to_zero()}, labels)
        params, _ = steps(tx, **row.extra)
        inner, kernel = row.make(), {"kernel": params_of()["kernel"]}
        state = inner.init(kernel)
        for i in range(2):
            grads = {"kernel": grads_of(step=i)["kernel"]}
            kernel, state = funcopt.step(inner, grads, state, kernel, **row.extra)
    close(params["kernel"], kernel["kernel"], TRACED)
    chex.assert_trees_all_equal(params["bias"], params_of()["bias"])


@others
@each_kind(ROWS)
def test_chains_both_ways(row):
    with jax.disable_jit():
        run = partial(steps, **row.extra)
        ours = run(funcopt.chain(optax.scale(2.0), row.make(), optax.scale(0.5)))[0]
        theirs = run(optax.chain(optax.scale(2.0), row.make(), optax.scale(0.5)))[0]
        inner = funcopt.chain(optax.chain(optax.scale(2.0), row.make()))
        nested = run(funcopt.chain(inner, optax.scale(0.5)))[0]
    chex.assert_trees_all_equal(ours, theirs)
    chex.assert_trees_all_equal(ours, nested)


def test_extra_arguments_reach_every_member():
    seen = []

    def update(updates, state, params=None, *, value, **extra_args):
        seen.append((value, sorted(extra_args)))
        return updates, state

    listener = optax.GradientTransformationExtraArgs(lambda params: (), update)
    tx = funcopt.chain(funcopt.adam(0.1), funcopt.chain(listener), optax.scale(1.0), listener)
    steps(tx, count=1, value=3.0, more="words")
    assert seen == [(3.0, ["more"])] * 2


# --- metrics -------------------------------------------------------------------------------------


def nestings(row: Row) -> dict[str, Any]:
    """The row inside everything that keeps states of its own."""
    tx = row.make()
    return {
        "alone": tx,
        "funcopt.chain": funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.chain(tx)),
        "optax.chain": optax.chain(optax.clip(1.0), tx),
        "named_chain": optax.named_chain(("first", optax.clip(1.0)), ("second", tx)),
        "masked": optax.masked(tx, {"kernel": True, "bias": False}),
        "MultiSteps": optax.MultiSteps(tx, 2),
        "apply_if_finite": optax.apply_if_finite(tx, 3),
        "partition": optax.partition(
            {"a": tx, "b": optax.set_to_zero()}, {"kernel": "a", "bias": "b"}
        ),
        "inject_hyperparams": optax.inject_hyperparams(row.factory, structure(row.factory))(
            row.rate
        ),
        "deep": optax.chain(optax.apply_if_finite(optax.masked(funcopt.chain(tx), True), 3)),
    }


@others
@each_kind(ROWS)
def test_current_lr_through_every_nesting(row):
    first = float(funcopt.current_lr(row.make().init(params_of())))
    assert row.own_rate or first == pytest.approx(row.rate)
    with jax.disable_jit():
        for tx in nestings(row).values():
            rate = funcopt.current_lr(tx.init(params_of()))
            assert rate.dtype == jnp.float32
            assert float(rate) == pytest.approx(first)
    _, state = trained(row.name)
    rate = float(funcopt.current_lr(state))
    assert np.isfinite(rate) if row.own_rate else rate == pytest.approx(row.rate)
    assert float(jax.jit(funcopt.current_lr)(state)) == rate
    if not row.wraps:
        assert float(optax.tree.get(state, "lr")) == rate


@each_kind(ALL)
def test_metrics_are_float32_scalars_also_under_jit(row):
    _, state = trained(row.name)
    found = funcopt.metrics(state)
    assert "lr" in {name.split("/")[-1] for name in found}
    chex.assert_shape(list(found.values()), ())
    assert {x.dtype.name for x in found.values()} == {"float32"}
    chex.assert_trees_all_equal(jax.jit(funcopt.metrics)(state), found)


def test_metrics_of_two_rates_have_paths():
    tx = funcopt.chain(funcopt.sgd(0.5), funcopt.chain(funcopt.sgd(0.25)))
    state = tx.init(params_of())
    assert {name: float(x) for name, x in funcopt.metrics(state).items()} == {
        "0/lr": 0.5,
        "1/0/lr": 0.25,
    }
    with pytest.raises(ValueError, match=r"2 learning rates that differ: 0/lr 0\.5, 1/0/lr 0\.25"):
        funcopt.current_lr(state)
    with pytest.raises(ValueError, match="no learning rate"):
        funcopt.current_lr(funcopt.trace(0.9).init(params_of()))
