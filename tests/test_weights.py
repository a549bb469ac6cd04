"""Weights in half precision that learn: master weights, stochastic rounding, Kahan summation."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

import funcopt
from funcopt.math.halves import joined, landing, nearest, split
from funcopt.weights.landing import WeightsState
from tests.compilations import compilations

KINDS = ("int16", "int8", "float32")
WAYS = {
    **{kind: partial(funcopt.master_weights, kind=kind) for kind in KINDS},
    "chance": funcopt.stochastic_rounding,
    "kahan": funcopt.kahan,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
# One that keeps something, and one that draws: what all have in common follows from these.
two_ways = pytest.mark.parametrize(
    "way",
    [
        pytest.param(x, id=name, marks=() if name in ("int16", "chance") else pytest.mark.every_row)
        for name, x in WAYS.items()
    ],
)
BF16 = jnp.bfloat16
pytestmark = pytest.mark.default_promotion  # optax adds float32 updates to parameters of 16 bits


@cache
def patterns() -> np.ndarray:
    """A million of all float32 patterns, and those at which something changes."""
    edges = [0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    tops = [0, 1, 0x007F, 0x0080, 0x3F7F, 0x3F80, 0x7F7E, 0x7F7F, 0x7F80, 0x7FC0, 0x7FFF]
    signed = [top | sign for top in tops for sign in (0, 0x8000)]
    some = np.array([top << 16 | edge for top in signed for edge in edges], np.uint32)
    drawn = np.random.default_rng(0).integers(0, 2**32, 10**6, np.uint64).astype(np.uint32)
    return np.concatenate([some, drawn])


def bits(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.view(np.dtype(f"uint{8 * x.dtype.itemsize}"))


# --- the arithmetic ------------------------------------------------------------------------------


def test_a_float32_is_a_bfloat16_and_16_bits():
    x = patterns().view(np.float32)
    high, low = jax.jit(split, static_argnums=1)(x, jnp.int16)
    again, largest = np.asarray(joined(high, low)), np.uint32(0x7F7F7FFF).view(np.float32)
    inside = np.abs(x) <= largest
    assert (bits(again) == bits(x))[inside | np.isinf(x)].all()
    beyond = np.isfinite(x) & ~inside
    np.testing.assert_array_equal(again[beyond], np.sign(x[beyond]) * largest)
    assert (np.isnan(again) == np.isnan(x)).all()
    assert (np.isfinite(np.asarray(high, np.float32)) == np.isfinite(x)).all()
    tie = bits(x) & 0xFFFF == 0x8000
    usual = bits(jnp.asarray(x).astype(BF16))
    assert (bits(high) == usual)[inside & ~tie].all()


def test_24_bits_of_it_beside_8():
    x = patterns().view(np.float32)
    x = x[(np.abs(x) > 1e-37) & (np.abs(x) < 3.39e38)]
    again = np.asarray(joined(*split(jnp.asarray(x), jnp.int8)), np.float64)
    assert (np.abs(again / x - 1) <= 2.0**-16).all()


def test_other_bits_change_a_bfloat16_by_half_a_unit_at_most():
    """Which they are where the parameter was changed by someone else."""
    high = jnp.asarray((patterns() >> 16).astype(np.uint16)).view(BF16)
    low = jnp.asarray(patterns().astype(np.uint16).view(np.int16))
    with np.errstate(invalid="ignore"):  # of a NaN
        one, other = (np.asarray(x, np.float64) for x in (joined(high, low), high))
    np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
    known = np.isfinite(other)
    assert (np.abs(one[known] - other[known]) <= 2.0**-8 * np.abs(other[known]) + 2.0**-133).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_updates_land_exactly(dtype):
    """By optax's own addition, in a compiled program and outside of one."""
    x = patterns().view(np.float32)
    x = jnp.asarray(x[~(np.abs(x) < 1e-35)])  # additions make 0 of less than 1.2e-38
    param = nearest(x, jnp.dtype(dtype))
    new = jnp.roll(param, 1)
    update, landed = jax.jit(landing)(new, param)
    assert update.dtype == jnp.float32
    for add in (optax.apply_updates, jax.jit(optax.apply_updates), funcopt.apply_updates):
        got = bits(add(param, update))
        nan = np.isnan(np.asarray(landed, np.float32))
        np.testing.assert_array_equal(got[~nan], bits(landed)[~nan])
    p, q, at = (np.asarray(y, np.float64) for y in (param, new, landed))
    apart = jnp.finfo(dtype).nmant - 23  # for the digits of both, one below the other
    near = (
        ((np.abs(q) > 2.0**apart * np.abs(p)) | (q == 0)) & (np.abs(p) < 1e38) & (np.abs(q) < 1e38)
    )
    assert near.sum() > 1e5
    np.testing.assert_array_equal(at[near], q[near])
    same, _ = landing(param, param)
    assert (bits(same) == bits(np.float32(-0.0))).all()


def test_nearest_float16_is_numpy_s():
    rng = np.random.default_rng(1)
    x = rng.normal(size=100_000) * 10.0 ** rng.integers(-9, 5, 100_000)
    x = x.astype(np.float32)
    usual = np.clip(x, -65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(bits(nearest(jnp.asarray(x), jnp.float16)), bits(usual))


# --- what a compiler may leave out ---------------------------------------------------------------


def without_round_trips(closed: ClosedJaxpr, *args: Any) -> list[Any]:
    """What a program computes where XLA leaves out conversions to 16 bits and back, as it may."""
    wide: dict[Any, Any] = {}  # of what was converted to 16 bits: what it was

    def run(jaxpr: Jaxpr, consts: Any, args: Any) -> list[Any]:
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def read(x: Any) -> Any:
            return x.val if isinstance(x, Literal) else values[x]

        for eqn in jaxpr.eqns:
            given = list(map(read, eqn.invars))
            if "jaxpr" in eqn.params:
                inner = eqn.params["jaxpr"]
                out = run(inner.jaxpr, inner.consts, given)
            else:
                out = eqn.primitive.bind(*given, **eqn.params)
                out = out if eqn.primitive.multiple_results else [out]
            if eqn.primitive.name == "convert_element_type":
                before, after = given[0], eqn.outvars[0].aval.dtype
                if jnp.finfo(after).bits == 16 if jnp.issubdtype(after, jnp.floating) else False:
                    wide[id(out[0])] = (out[0], before)
                elif id(before) in wide and after == jnp.float32:
                    out = [wide[id(before)][1]]
            values |= zip(eqn.outvars, out, strict=True)
        return list(map(read, jaxpr.outvars))

    return run(closed.jaxpr, closed.consts, args)


def trained_without_round_trips(step: Any, *args: Any) -> tuple[list[Any], list[Any]]:
    flat, structure = jax.tree.flatten(args)
    closed = jax.make_jaxpr(lambda *flat: jax.tree.leaves(step(*structure.unflatten(flat))))(*flat)
    return without_round_trips(closed, *flat), jax.tree.leaves(step(*args))


@ways
def test_nothing_depends_on_a_conversion_there_and_back(way):
    tx = way(funcopt.sgd(1.0))
    params = jnp.linspace(0.5, 1.5, 64, dtype=BF16)
    state = tx.init(params)
    grads = 1e-3 * jnp.linspace(-1, 1, 64)
    for step in (partial(funcopt.step, tx), tx.update):
        got, want = trained_without_round_trips(step, grads, state, params)
        chex.assert_trees_all_equal(got, want)


def test_a_rounding_that_is_left_out_would_be_seen():
    def naive(x):
        return (x - x.astype(BF16).astype(jnp.float32),)

    got, want = trained_without_round_trips(naive, jnp.linspace(0.5, 1.5, 64))
    assert np.abs(want[0]).max() > 1e-3
    assert np.abs(got[0]).max() == 0


# --- training ------------------------------------------------------------------------------------


TARGET = {
    "w": np.linspace(-2, 2, 96, dtype=np.float32).reshape(8, 12),
    "b": np.array([0.3, -1e-3, 5.0], np.float32),
}


SHAKES = {
    name: np.random.default_rng(4).normal(x, 0.1, (1000, *x.shape)).astype(np.float32)
    for name, x in TARGET.items()
}


def slopes(params: Any, t: Any) -> Any:
    """Of a bowl that is shaken, in float32, and in memory: XLA rounds as it puts loops together."""

    def one(x: Any, to: Any) -> Any:
        return x.astype(jnp.float32) - jnp.asarray(to)[t]

    return jax.lax.optimization_barrier(jax.tree.map(one, params, SHAKES))


def rounded(weights: Any) -> Any:
    return jax.tree.map(lambda x: nearest(x, BF16), weights)


def start() -> Any:
    return jax.tree.map(lambda x: jnp.ones_like(x, BF16), TARGET)


@partial(jax.jit, static_argnums=(0, 1))
def run(tx: Any, how: str, steps: Any = 1000) -> tuple[Any, Any]:
    params = start()

    def body(t, carry):
        params, state = carry
        if how == "step":
            return funcopt.step(tx, slopes(params, t), state, params)
        updates, state = tx.update(slopes(params, t), state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, body, (params, tx.init(params)))


@partial(jax.jit, static_argnums=0)
def run_in_float32(tx: Any, steps: Any = 1000) -> tuple[Any, Any]:
    """By hand: weights in float32, gradients at their bfloat16."""
    weights = jax.tree.map(lambda x: x.astype(jnp.float32), start())

    def body(t, carry):
        weights, state = carry
        grads = slopes(rounded(weights), t)
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state

    return jax.lax.fori_loop(0, steps, body, (weights, tx.init(weights)))


# Products with powers of two are exact, so that it is all one where XLA makes one instruction of a
# product and a sum, and where two.
INNER = funcopt.sgd(2.0**-10, momentum=0.5)


@pytest.mark.parametrize("how", ["step", "update"])
@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_a_thousand_steps_are_those_of_float32_bit_by_bit(kind, how):
    weights, inner = run_in_float32(INNER)
    params, state = run(funcopt.master_weights(INNER, kind), how)
    chex.assert_trees_all_equal(params, rounded(weights))
    master = state.slots.master
    if kind == "int16":
        master = jax.tree.map(joined, params, master)
        assert {x.dtype.name for x in jax.tree.leaves(state.slots.master)} == {"int16"}
    for got, want in zip(*map(jax.tree.leaves, (master, weights)), strict=True):
        np.testing.assert_array_equal(bits(got), bits(want))
    chex.assert_trees_all_equal(state.inner, inner)


@pytest.mark.parametrize("name", ["int8", "chance", "kahan"])
def test_writing_and_adding_give_the_same_numbers(name):
    tx = WAYS[name](INNER)
    chex.assert_trees_all_equal(run(tx, "step"), run(tx, "update"))
    weights, _ = run_in_float32(INNER)
    for got, want in zip(*map(jax.tree.leaves, (run(tx, "step")[0], weights)), strict=True):
        allowed = 0.1 if name == "chance" else 2.0**-8  # one rounding to bfloat16
        np.testing.assert_allclose(
            np.asarray(got, np.float32), want, atol=allowed * np.abs(want).max()
        )


@ways
def test_a_thousand_thousandths_are_one(way):
    """In bfloat16 alone 1.0 stays 1.0."""
    params = jnp.ones(4096, BF16)

    def walk(tx, params):
        def body(_, carry):
            params, state = carry
            return funcopt.step(tx, jnp.full(4096, -1.0, BF16), state, params)

        return jax.lax.fori_loop(0, 1000, body, (params, tx.init(params)))[0]

    alone = jax.jit(partial(walk, funcopt.sgd(1e-3)))(params)
    assert float(alone.astype(jnp.float32).max()) == 1.0
    walked = np.asarray(jax.jit(partial(walk, way(funcopt.sgd(1e-3))))(params), np.float64)
    # By chance each makes about 128 steps of 1/128; their mean is known to 5 deviations.
    by_chance = way is funcopt.stochastic_rounding
    assert abs(walked.mean() - 2) < (
        5 * np.sqrt(1000 * 0.128 * 0.872) / 128 / 64 if by_chance else 0.01
    )
    assert np.abs(walked - 2).max() < (0.6 if by_chance else 0.01)


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_steps_that_24_bits_do_not_hold_count_on_average(kind):
    """To the nearest a step of 2⁻²⁰ of a weight would never count. Whichever kind goes on."""
    params = jnp.ones(4096, BF16)
    tx = funcopt.master_weights(funcopt.sgd(2.0**-20), kind)
    state = funcopt.master_weights(funcopt.sgd(2.0**-20), "int8").init(params)

    def body(_, carry):
        params, state = carry
        return funcopt.step(tx, -jnp.ones(4096), state, params)

    params, state = jax.jit(lambda *both: jax.lax.fori_loop(0, 64, body, both))(params, state)
    moved = np.asarray(joined(params, state.slots.master), np.float64) - 1
    # Each makes 4 steps of 2⁻¹⁶ of 64 that might be; their mean is known to 5 deviations.
    assert abs(moved.mean() * 2**16 - 4) < 5 * np.sqrt(64 / 16 * 15 / 16) / 64
    assert len(np.unique(moved)) > 3


@two_ways
def test_fine_tuning_at_a_small_rate(way):
    """A least-squares fit at rate 1e-5: rounded to the nearest it stays where it was."""
    rng = np.random.default_rng(3)
    features = jnp.asarray(rng.normal(size=(64, 32)), jnp.float32)
    truth = jnp.asarray(rng.normal(size=32), jnp.float32)
    begun = (truth * (1 + 0.004 * rng.choice([-1, 1], 32))).astype(BF16)
    goal = features @ truth

    def loss(w):
        return jnp.mean((features @ w.astype(jnp.float32) - goal) ** 2)

    def tuned(tx, w):
        def body(_, carry):
            w, state = carry
            return funcopt.step(tx, jax.grad(loss)(w), state, w)

        return jax.lax.fori_loop(0, 300, body, (w, tx.init(w)))[0]

    inner = funcopt.adam(1e-5)
    stalled = jax.jit(partial(tuned, inner))(begun)
    assert (bits(stalled) == bits(begun)).mean() > 0.9
    best = float(loss(rounded(jax.jit(partial(tuned, inner))(begun.astype(jnp.float32)))))
    got = float(loss(jax.jit(partial(tuned, way(inner)))(begun)))
    assert got < 0.7 * float(loss(stalled))
    assert got < 1.1 * best


def test_noise_is_new_each_step_and_for_each_leaf_and_has_no_bias():
    x = jnp.full(4096, 1 + 2.0**-9)  # a quarter of the way from 1 to the next
    tx = funcopt.stochastic_rounding(funcopt.sgd(1.0))
    params = {"a": jnp.ones(4096, BF16), "b": jnp.ones(4096, BF16)}
    grads = jax.tree.map(lambda p: -(x - 1), params)
    state, ups = tx.init(params), []
    for _ in range(4):
        new, state = funcopt.step(tx, grads, state, params)
        ups += [np.asarray(new[name], np.float32) > 1 for name in "ab"]
    assert all(abs(up.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4096) for up in ups)
    agree = np.corrcoef(np.array(ups, float)) - np.eye(8)
    assert np.abs(agree).max() < 5 / np.sqrt(4096)
    # Below a power of two neighbours are half as far apart; what is there already stays.
    for at, sign in ((1.0, -1), (2.0, 1), (0.0, 1)):
        whole = jnp.full(4096, at, BF16)
        moved, _ = funcopt.step(tx, jnp.full(4096, -sign * 2.0**-10), tx.init(whole), whole)
        mean, std = float(moved.astype(jnp.float32).mean()), float(moved.astype(jnp.float32).std())
        assert abs(mean - at - sign * 2.0**-10) <= 5 * std / 64
        stays, _ = funcopt.step(tx, jnp.zeros(4096), tx.init(whole), whole)
        np.testing.assert_array_equal(bits(stays), bits(whole))


# --- as a transformation -------------------------------------------------------------------------


def mixed_params() -> dict[str, Any]:
    return {
        "half": jnp.array([[1.0, -2.0], [0.5, -0.0]], BF16),
        "wide": jnp.array([1.0, -3.0]),
        "number": jnp.array(0.25, BF16),
        "empty": jnp.zeros((0, 3), BF16),
    }


def mixed_grads() -> dict[str, Any]:
    return jax.tree.map(lambda p: jnp.full(p.shape, 1e-3, p.dtype), mixed_params())


@two_ways
def test_wide_parameters_are_left_to_the_optimizer(way):
    tx, alone, params = way(funcopt.adamw(0.1)), funcopt.adamw(0.1), mixed_params()
    state, own = tx.init(params), alone.init(params["wide"])
    updates, state = tx.update(mixed_grads(), state, params)
    want, _ = alone.update(mixed_grads()["wide"], own, params["wide"])
    chex.assert_trees_all_equal(updates["wide"], want)
    assert {x.dtype.name for x in updates.values()} == {"float32"}
    written, _ = funcopt.step(tx, mixed_grads(), tx.init(params), params)
    chex.assert_trees_all_equal(written, optax.apply_updates(params, updates))
    chex.assert_trees_all_equal_shapes_and_dtypes(written, params)
    assert {x.shape for x in jax.tree.leaves(state.slots)} <= {(2, 2), (), (0, 3)}


@pytest.mark.parametrize("name", WAYS)
def test_the_optimizer_inside_sees_the_weights(name):
    """All bits that are kept of them: decay and averages go by these."""

    def update(grads, state, params):
        del state
        return jax.tree.map(lambda g: -(2.0**-12) * g, grads), params

    tx = WAYS[name](optax.GradientTransformation(lambda params: params, update))
    params, ones = jnp.array([1.0, -3.0], BF16), jnp.ones(2)
    state = tx.init(params)
    for _ in range(6):
        before = params
        params, state = funcopt.step(tx, ones, state, params)
    seen = before if name == "chance" else np.array([1.0, -3.0]) - 5 * 2.0**-12
    np.testing.assert_allclose(state.inner, np.asarray(seen, np.float32), rtol=2.0**-16)


@two_ways
def test_a_step_that_does_not_count_changes_nothing(way):
    inner = funcopt.adam(1e-3)
    params, bad = mixed_params(), jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), mixed_params())
    moved, alone = funcopt.step(way(inner), mixed_grads(), way(inner).init(params), params)
    for tx, slots_of in (
        (funcopt.guard(way(inner)), lambda state: state.inner.slots),
        (way(funcopt.guard(inner)), lambda state: state.slots),
    ):
        state = tx.init(params)
        at, state = funcopt.step(tx, mixed_grads(), state, params)
        chex.assert_trees_all_equal((at, slots_of(state)), (moved, alone.slots))
        after, then = funcopt.step(tx, bad, state, at)
        for x, y in zip(*map(jax.tree.leaves, (after, at)), strict=True):
            np.testing.assert_array_equal(bits(x), bits(y))
        kept = [optax.tree.get_all_with_path(s, "slots") for s in (state, then)]
        chex.assert_trees_all_equal(kept[0], kept[1])


@two_ways
def test_states_keep_their_types_and_are_donated(way):
    tx, params = way(funcopt.adam(1e-3)), mixed_params()
    state = tx.init(params)
    step = jax.jit(partial(funcopt.step, tx), donate_argnums=(1, 2))
    shapes = jax.eval_shape(lambda: (params, state))
    grads = mixed_grads()
    params, state = step(grads, state, params)

    def once_more():
        nonlocal params, state
        params, state = step(grads, state, params)
        return params, state

    assert compilations(once_more) == 0
    chex.assert_trees_all_equal_shapes_and_dtypes((params, state), shapes)
    restored = flax.serialization.from_bytes(state, flax.serialization.to_bytes(state))
    again = step(mixed_grads(), jax.tree.map(jnp.array, restored), jax.tree.map(jnp.array, params))
    chex.assert_trees_all_equal(again, step(mixed_grads(), state, params))


def test_a_state_of_another_kind_goes_on_as_it_is():
    params = start()
    grads = slopes(params, 0)
    for kind in KINDS:
        tx = funcopt.master_weights(INNER, kind)
        _, state = funcopt.step(tx, grads, tx.init(params), params)
        for other in KINDS:
            _, then = funcopt.step(funcopt.master_weights(INNER, other), grads, state, params)
            chex.assert_trees_all_equal_shapes_and_dtypes(then, state)


def test_a_copy_from_a_checkpoint_in_half_precision_is_float32_again():
    tx = funcopt.master_weights(INNER, "float32")
    params, state = run(tx, "step", 3)
    cast = state._replace(slots=jax.tree.map(lambda x: x.astype(BF16), state.slots))
    _, then = funcopt.step(tx, slopes(params, 0), cast, params)
    assert {x.dtype.name for x in jax.tree.leaves(then.slots)} == {"float32"}


@ways
def test_parameters_that_someone_else_changed_count(way):
    """After 1000 steps they are set back, far from where they were."""
    tx = way(funcopt.sgd(1e-3))
    params = jnp.full(512, 300.0, BF16)
    state = tx.init(params)
    for _ in range(3):
        params, state = funcopt.step(tx, jnp.full(512, 0.77), state, params)
    for grad in (1e-3, 0.0):
        for size in (1e-2, 1e-3):
            restored = jnp.full(512, size, BF16)
            new, then = funcopt.step(tx, jnp.full(512, grad), state, restored)
            both = (np.asarray(x, np.float32) for x in (new, restored))
            np.testing.assert_allclose(*both, rtol=2.0**-7)
    state = then
    zero, _ = funcopt.step(tx, jnp.zeros(512), state, jnp.zeros(512, BF16))
    assert float(jnp.abs(zero).max()) < 1e-38


@ways
def test_extreme_weights(way):
    """Infinities and NaN stay what they are, the largest finite ones finite, and -0 is -0."""
    values = [jnp.inf, -jnp.inf, jnp.nan, 3.3895e38, -3.3895e38, 1e-39, -0.0, 0.0]
    params = jnp.array(values, BF16)
    tx = way(funcopt.sgd(1.0))
    still, _ = funcopt.step(tx, jnp.zeros(8), tx.init(params), params)
    np.testing.assert_array_equal(bits(still)[[0, 1, 3, 4, 6, 7]], bits(params)[[0, 1, 3, 4, 6, 7]])
    assert np.isnan(np.asarray(still, np.float32)).tolist() == [False, False, True, *[False] * 5]
    far, _ = funcopt.step(tx, -jnp.sign(params.astype(jnp.float32)) * 1e36, tx.init(params), params)
    assert np.isfinite(np.asarray(far, np.float32)).tolist() == [False] * 3 + [True] * 5


def test_a_weight_that_nearly_vanishes_lands_by_the_write():
    """The sum cannot hold it; a parameter that is written directly can."""
    params = jnp.array([1.0, 1.0], BF16)
    to = jnp.array([1.2345e-7, -3e-9], jnp.float32)
    tx = funcopt.master_weights(funcopt.sgd(1.0))
    written, state = funcopt.step(tx, 1 - to, tx.init(params), params)
    want = 1 - (1 - to)
    np.testing.assert_array_equal(bits(joined(written, state.slots.master)), bits(want))
    updates, state = tx.update(1 - to, tx.init(params), params)
    added = optax.apply_updates(params, updates)
    assert np.abs(np.asarray(joined(added, state.slots.master) - want)).max() <= 2.0**-25


def test_float16():
    params = jnp.array([1.0, -2.0, 1e-6], jnp.float16)
    for way in ("float32", "kahan"):
        tx = WAYS[way](funcopt.sgd(1e-4))
        state, at = tx.init(params), params
        for _ in range(50):
            at, state = funcopt.step(tx, jnp.ones(3, jnp.float16), state, at)
        np.testing.assert_allclose(np.asarray(at, np.float32), params - 5e-3, rtol=1e-3)
    for way in ("int16", "int8", "chance"):
        with pytest.raises(ValueError, match=r"parameter 'w' is float16.*knows bfloat16.*float32"):
            WAYS[way](funcopt.sgd(1e-4)).init({"w": params})


def test_errors():
    params = start()
    state = funcopt.master_weights(INNER).init(params)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    tx = funcopt.master_weights(INNER)
    with pytest.raises(ValueError, match="'b' is float32, but the state was made for one of 16"):
        tx.update(wide, state, wide)
    with pytest.raises(ValueError, match="'b' is bfloat16, but the state was made for a wider"):
        tx.update(params, tx.init(wide), params)
    with pytest.raises(ValueError, match="kahan got a WeightsState of MasterSlots"):
        funcopt.kahan(INNER).update(params, state, params)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(params, state)
    with pytest.raises(ValueError, match="kind must be one of int16, int8, float32"):
        funcopt.master_weights(INNER, "bfloat16")
    assert isinstance(state, WeightsState)


def test_what_is_kept_is_told():
    told = funcopt.describe(funcopt.master_weights(funcopt.adam(1e-3)), mixed_params())
    text = str(told)
    assert "master" in text
    assert "int16" in text
    tx = funcopt.master_weights(funcopt.adam(1e-3))
    assert "lr" in funcopt.metrics(tx.init(mixed_params()))


def test_averages_inside_are_evaluated():
    tx = funcopt.master_weights(funcopt.average(funcopt.sgd(0.5), decay=0.5))
    params = jnp.array([8.0], BF16)
    state = tx.init(params)
    for grad in (8.0, 4.0):
        params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    shown = funcopt.eval_params(tx, state, params)
    assert shown.dtype == BF16
    assert float(shown[0]) == 4.0


def monitored(tx: Any) -> tuple[Any, Any]:
    """A report and the metrics of 30 small steps of bfloat16 parameters."""
    tx = funcopt.monitor(tx, every=2)
    params = {"a": jnp.ones((16, 8), BF16), "b": jnp.ones(8)}
    grads = jax.tree.map(lambda p: jnp.full(p.shape, 0.1), params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        return funcopt.step(tx, grads, state, params)

    state = tx.init(params)
    for _ in range(30):
        params, state = step(params, state)
    return funcopt.health(state, params), funcopt.metrics(state)


def test_a_monitor_sees_what_is_lost_and_what_is_kept():
    """A step of 1e-5 of a weight is lost in bfloat16, and no fault where the weight is kept."""
    report, metrics = monitored(funcopt.sgd(1e-4))
    (verdict,) = report.verdicts
    assert (verdict.name, verdict.layers, verdict.value) == ("LOST UPDATES", ("a",), 1.0)
    assert "master_weights" in verdict.advice
    assert metrics["lost_updates"] == 1.0
    report, metrics = monitored(funcopt.master_weights(funcopt.sgd(1e-4)))
    assert report.verdicts == ()
    assert metrics["lost_updates"] == 0.0
    # The steps that are told are those of the weights: a row of 128 elements, each moved by 1e-5.
    norms = report.readings.latest["update_norm"]
    np.testing.assert_allclose(norms, 1e-5 * np.sqrt([128, 8]), rtol=0.01)


def test_bytes_of_a_weight():
    """Of float32 training, bit by bit, with AdamW's slots in 8 bits and gradients in bfloat16."""
    params = jax.eval_shape(lambda: jnp.zeros((1024, 1024), BF16))
    tx = funcopt.master_weights(funcopt.adamw(1e-3, storage="8bit"))
    arrays = jax.tree.leaves((params, params, jax.eval_shape(tx.init, params)))
    assert sum(x.size * x.dtype.itemsize for x in arrays) / params.size < 8.1


AROUND = {
    "partition": lambda tx: funcopt.partition({"half": tx, "": tx}),
    "guard": funcopt.guard,
    "rollback": lambda tx: funcopt.rollback(funcopt.guard(tx), every=2),
    "monitor": lambda tx: funcopt.monitor(tx, every=2),
    "accumulate": lambda tx: funcopt.accumulate(tx, every=2),
    "average": funcopt.average,
    "chain": lambda tx: funcopt.chain(funcopt.clip(10.0), tx),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=() if x == "partition" else pytest.mark.every_row) for x in AROUND],
)
def test_what_is_around_hands_updates_on_as_they_are(name):
    """As do all whose `update` gives what came from inside."""

    def end(tx: Any, repeats: int) -> Any:
        params = mixed_params()
        state = tx.init(params)
        step = jax.jit(lambda state, params: tx.update(mixed_grads(), state, params, value=1.0))
        for _ in range(4 * repeats):
            updates, state = step(state, params)
            params = optax.apply_updates(params, updates)
        return params

    inner = optax.with_extra_args_support(funcopt.master_weights(funcopt.sgd(0.5)))
    got = end(AROUND[name](inner), 2 if name == "accumulate" else 1)
    for x, y in zip(*map(jax.tree.leaves, (got, end(inner, 1))), strict=True):
        assert bits(x).tobytes() == bits(y).tobytes()
