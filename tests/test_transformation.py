"""What is no algorithm: chains, writes, metrics, small rules, clipping by norm, storage."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcopt

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": {"c": jnp.array([[0.5]])}}
GRADS = {"a": jnp.array([3.0, -4.0]), "b": {"c": jnp.array([[12.0]])}}  # of norm 13


def update(tx, grads=GRADS, params=PARAMS):
    """One update, and the state after it."""
    return tx.update(grads, tx.init(params), params)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


# -- values ---------------------------------------------------------------------------------------

SMALL = [
    funcopt.identity(),
    funcopt.scale(-0.5),
    funcopt.descend(0.1),
    funcopt.scale_by_learning_rate(0.1),
    funcopt.scale_by_learning_rate(0.1, flip_sign=False),
    funcopt.clip(1.0),
    funcopt.clip_by_global_norm(1.0),
    funcopt.chain(funcopt.clip(1.0), funcopt.sgd(0.1)),
    funcopt.chain(),
    funcopt.lift(funcopt.rules.Clip(1.0), funcopt.Momentum(0.9)),
    funcopt.optimizer(funcopt.rules.Adam(b1=0.8), learning_rate=0.1, storage="bfloat16"),
    funcopt.adam(0.1, storage={"mu": "bfloat16"}),
]


@pytest.mark.parametrize("tx", SMALL, ids=repr)
def test_are_values(tx):
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert eval(repr(tx), vars(funcopt)) == tx == pickle.loads(pickle.dumps(tx))
    assert hash(tx) == hash(eval(repr(tx), vars(funcopt)))
    init, update_ = tx
    assert_same(update_(GRADS, init(PARAMS), PARAMS), update(tx))


def test_different_calls_are_different_values():
    for i, tx in enumerate(SMALL):
        assert [other == tx for other in SMALL] == [i == j for j in range(len(SMALL))]


def test_rules_that_differ_only_in_their_class_are_different():
    """Their records hold the same numbers; compiled, neither may run in place of the other."""
    rules = [funcopt.rules.Scale(0.5), funcopt.rules.Clip(0.5), funcopt.Decay(0.5)]
    values = [funcopt.lift(rule) for rule in rules]
    assert len(set(values)) == len({jax.tree.structure(each) for each in rules}) == 3
    expected = [[1.5, -2.0], [0.5, -0.5], [3.5, -5.0]]
    step = jax.jit(lambda tx: tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["a"])
    for tx, a in zip(values, expected, strict=True):
        np.testing.assert_array_equal(update(tx)[0]["a"], a)
        np.testing.assert_array_equal(step(tx), a)


# -- chain ----------------------------------------------------------------------------------------


def test_a_chain_applies_its_members_in_order():
    clipped_then_doubled = funcopt.chain(funcopt.clip(1.0), funcopt.scale(2.0))
    doubled_then_clipped = funcopt.chain(funcopt.scale(2.0), funcopt.clip(1.0))
    np.testing.assert_array_equal(update(clipped_then_doubled)[0]["a"], [2.0, -2.0])
    np.testing.assert_array_equal(update(doubled_then_clipped)[0]["a"], [1.0, -1.0])


def test_the_state_of_a_chain_is_the_tuple_of_its_members_states():
    members = (funcopt.clip_by_global_norm(1.0), funcopt.trace(0.9), optax.scale(-0.1))
    state = funcopt.chain(*members).init(PARAMS)
    assert type(state) is tuple
    assert_same(state, tuple(member.init(PARAMS) for member in members))


def test_a_chain_of_chains_is_the_flat_chain():
    a, b, c = funcopt.clip(5.0), funcopt.trace(0.9), funcopt.descend(0.1)
    nested, flat = funcopt.chain(a, funcopt.chain(b, c)), funcopt.chain(a, b, c)
    assert_same(update(nested)[0], update(flat)[0])


def test_a_chain_without_members_is_the_identity():
    updates, state = update(funcopt.chain())
    assert state == funcopt.identity().init(PARAMS) == ()
    assert_same(updates, GRADS)


def test_a_chain_of_building_blocks_is_the_optimizer():
    blocks = funcopt.chain(
        funcopt.scale_by_adam(), funcopt.add_decayed_weights(1e-4), funcopt.descend(0.1)
    )
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-7),
        update(blocks)[0],
        update(funcopt.adamw(0.1))[0],
    )


@pytest.mark.default_promotion
def test_a_closed_gate_leaves_optaxs_members_as_they_were():
    tx = funcopt.chain(optax.scale_by_adam(), funcopt.sgd(0.1, momentum=0.9))
    state = tx.init(PARAMS)
    _, state = tx.update(GRADS, state, PARAMS)
    updates, closed = tx.update(GRADS, state, PARAMS, gate=jnp.array(False))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(updates))
    assert_same(closed, state)
    through, opened = tx.update(GRADS, state, PARAMS, gate=jnp.array(True))
    assert_same((through, opened), tx.update(GRADS, state, PARAMS))


# -- apply_updates and step -----------------------------------------------------------------------


def test_apply_updates_adds_in_the_wider_type_and_returns_the_parameters():
    """1 + 2⁻⁹ is not a bfloat16, and rounds to 1; from 1.0039 it must reach 1.0078."""
    params = {"w": jnp.array([1.0, 1.0078125], jnp.bfloat16)}
    new = funcopt.apply_updates(params, {"w": jnp.array([2.0**-9, -(2.0**-6)], jnp.float32)})
    assert new["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(new["w"].astype(jnp.float32), [1.0, 0.9921875])
    low = funcopt.apply_updates({"w": jnp.ones(1)}, {"w": jnp.full(1, 0.5, jnp.float16)})
    assert low["w"].dtype == jnp.float32
    assert float(low["w"][0]) == 1.5


def test_apply_updates_agrees_with_optax():
    updates, _ = update(funcopt.adam(0.1))
    assert_same(funcopt.apply_updates(PARAMS, updates), optax.apply_updates(PARAMS, updates))


def test_apply_updates_keeps_what_has_no_update():
    keep = object()
    params = {"w": jnp.ones(2), "activation": keep, "frozen": {"x": jnp.zeros(1), "y": keep}}
    new = funcopt.apply_updates(params, {"w": jnp.ones(2), "activation": None, "frozen": None})
    np.testing.assert_array_equal(new["w"], [2.0, 2.0])
    assert new["activation"] is keep
    assert new["frozen"] is params["frozen"]


def test_apply_updates_keeps_complex_parameters_complex():
    new = funcopt.apply_updates({"w": jnp.array([1 + 1j])}, {"w": jnp.array([1 - 2j])})
    np.testing.assert_array_equal(new["w"], [2 - 1j])


def test_apply_updates_to_an_empty_tree():
    assert funcopt.apply_updates({}, {}) == {}


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "tx", [funcopt.adamw(0.1), optax.adamw(0.1), optax.sgd(0.1)], ids=["ours", "adamw", "sgd"]
)
def test_step_is_update_and_write(tx):
    updates, state = update(tx)
    assert_same(
        funcopt.step(tx, GRADS, tx.init(PARAMS), PARAMS),
        (funcopt.apply_updates(PARAMS, updates), state),
    )


def test_step_passes_extra_arguments():
    seen = {}

    def update(updates, state, params=None, **extra_args):
        seen.update(extra_args)
        return updates, state

    tx = optax.GradientTransformationExtraArgs(lambda params: (), update)
    funcopt.step(
        funcopt.chain(tx, funcopt.sgd(0.1)),
        GRADS,
        ((), funcopt.sgd(0.1).init(PARAMS)),
        PARAMS,
        value=3.0,
    )
    assert seen == {"value": 3.0}


# -- metrics --------------------------------------------------------------------------------------


def floats(metrics):
    return {name: float(x) for name, x in metrics.items()}


def test_metrics_inside_and_outside_of_jit():
    tx = funcopt.chain(funcopt.clip_by_global_norm(6.5), funcopt.sgd(0.5))

    @jax.jit
    def step(state):
        _, state = tx.update(GRADS, state, PARAMS)
        return state, funcopt.metrics(state), funcopt.current_lr(state)

    state, inside, rate = step(tx.init(PARAMS))
    assert floats(inside) == floats(funcopt.metrics(state))
    assert floats(inside) == {"grad_norm": 13.0, "clip_ratio": 0.5, "clipped": 1.0, "lr": 0.5}
    assert all(x.dtype == jnp.float32 and x.shape == () for x in inside.values())
    assert float(rate) == float(funcopt.current_lr(state)) == 0.5


def test_metrics_through_any_nesting():
    inner = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(0.25))
    for tx in (
        inner,
        funcopt.chain(funcopt.chain(inner)),
        optax.chain(optax.identity(), inner),
        optax.named_chain(("inner", inner)),
        optax.masked(inner, True),
        optax.apply_if_finite(inner, 3),
        optax.MultiSteps(inner, 2),
        optax.inject_hyperparams(lambda rate: inner)(rate=0.5),
    ):
        state = tx.init(PARAMS)
        assert floats(funcopt.metrics(state)) == {
            "grad_norm": 0.0,
            "clip_ratio": 1.0,
            "clipped": 0.0,
            "lr": 0.25,
        }
        assert float(funcopt.current_lr(state)) == 0.25


def test_metrics_that_occur_twice_carry_their_path():
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(6.5), funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.5)
    )
    _, state = update(tx)
    found = floats(funcopt.metrics(state))
    assert set(found) == {
        f"{i}/{name}" for i in (0, 1) for name in ("grad_norm", "clip_ratio", "clipped")
    } | {"lr"}
    assert found["0/grad_norm"] == 13.0
    assert found["1/grad_norm"] == pytest.approx(6.5, rel=1e-6)


def test_states_without_anything_to_report():
    for tx in (funcopt.identity(), optax.adam(0.1), funcopt.scale_by_adam()):
        assert funcopt.metrics(tx.init(PARAMS)) == {}


def test_the_learning_rate_in_force_is_that_of_the_last_update():
    tx = funcopt.sgd(funcopt.linear_schedule(1.0, 0.0, 4))
    state = tx.init(PARAMS)
    seen = [float(funcopt.current_lr(state))]
    for _ in range(5):
        _, state = tx.update(GRADS, state, PARAMS)
        seen.append(float(funcopt.current_lr(state)))
    assert seen == [1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_learning_rate_is_float32_for_any_parameters():
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        state = funcopt.adam(0.1).init({"w": jnp.ones(2, dtype)})
        assert funcopt.current_lr(state).dtype == jnp.float32
        assert float(funcopt.current_lr(state)) == np.float32(0.1)


# -- identity, scale, descend, clip ---------------------------------------------------------------


def test_identity_returns_what_came():
    updates, state = update(funcopt.identity())
    assert state == ()
    assert all(u is g for u, g in zip(*map(jax.tree.leaves, (updates, GRADS)), strict=True))


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (funcopt.scale(-0.5), optax.scale(-0.5)),
        (funcopt.descend(0.1), optax.scale_by_learning_rate(0.1)),
        (funcopt.scale_by_learning_rate(0.1), optax.scale_by_learning_rate(0.1)),
        (
            funcopt.scale_by_learning_rate(0.1, flip_sign=False),
            optax.scale_by_learning_rate(0.1, flip_sign=False),
        ),
        (funcopt.clip(3.5), optax.clip(3.5)),
        (funcopt.add_decayed_weights(0.1), optax.add_decayed_weights(0.1)),
        (funcopt.trace(0.9, nesterov=True), optax.trace(0.9, nesterov=True)),
    ],
    ids=lambda tx: repr(tx) if isinstance(tx, funcopt.GradientTransformation) else "optax",
)
def test_small_transformations_equal_optaxs(ours, theirs):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-7), update(ours)[0], update(theirs)[0]
    )


def test_only_descend_has_a_learning_rate():
    assert float(funcopt.current_lr(funcopt.descend(0.1).init(PARAMS))) == np.float32(0.1)
    assert funcopt.metrics(funcopt.scale(-0.1).init(PARAMS)) == {}


def test_clip_cuts_each_element_off():
    grads = {"w": jnp.array([-5.0, -0.5, 0.0, 0.5, 5.0, jnp.inf, -jnp.inf, jnp.nan])}
    clipped = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.0, -1.0, np.nan]
    np.testing.assert_array_equal(update(funcopt.clip(1.0), grads, grads)[0]["w"], clipped)
    np.testing.assert_array_equal(update(funcopt.clip(math.inf), grads, grads)[0]["w"], grads["w"])
    zero, _ = update(funcopt.clip(0.0), {"w": jnp.array([1.0, -1.0])}, {"w": jnp.ones(2)})
    np.testing.assert_array_equal(zero["w"], [0.0, 0.0])


@pytest.mark.default_promotion
def test_clip_takes_real_and_imaginary_parts_apart():
    grads = {"w": jnp.array([3 - 0.5j, 0.5 + 3j])}
    np.testing.assert_array_equal(
        update(funcopt.clip(1.0), grads, grads)[0]["w"], [1 - 0.5j, 0.5 + 1j]
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("tx", SMALL[:9], ids=repr)
def test_updates_have_the_parameters_dtype(tx, dtype):
    params = {"w": jnp.ones(3, dtype)}
    updates, _ = update(tx, {"w": jnp.full(3, 0.5, dtype)}, params)
    assert updates["w"].dtype == dtype


# -- clip_by_global_norm --------------------------------------------------------------------------


def test_the_norm_before_the_clip_and_the_ratio_are_reported():
    updates, state = update(funcopt.clip_by_global_norm(1.3))
    assert floats(funcopt.metrics(state)) == pytest.approx(
        {"grad_norm": 13.0, "clip_ratio": 0.1, "clipped": 1}
    )
    np.testing.assert_allclose(updates["a"], [0.3, -0.4], rtol=1e-6)
    np.testing.assert_allclose(funcopt.global_norm(updates), 1.3, rtol=1e-6)
    assert int(state.count) == 1


@pytest.mark.parametrize("max_norm", [13.0, 13.5, 1e30, math.inf])
def test_what_is_short_enough_stays_bit_for_bit(max_norm):
    updates, state = update(funcopt.clip_by_global_norm(max_norm))
    assert_same(updates, GRADS)
    assert floats(funcopt.metrics(state)) == {"grad_norm": 13.0, "clip_ratio": 1.0, "clipped": 0.0}


def test_a_bound_of_zero_stops_everything():
    updates, state = update(funcopt.clip_by_global_norm(0.0))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(updates))
    assert floats(funcopt.metrics(state)) == {"grad_norm": 13.0, "clip_ratio": 0.0, "clipped": 1.0}


@pytest.mark.parametrize("max_norm", [0.0, 1.0, math.inf])
def test_zero_gradients_stay_zero(max_norm):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, state = update(funcopt.clip_by_global_norm(max_norm), zeros)
    assert_same(updates, zeros)
    assert floats(funcopt.metrics(state)) == {"grad_norm": 0.0, "clip_ratio": 1.0, "clipped": 0.0}


@pytest.mark.parametrize("empty", [{}, {"a": None}, [], {"a": jnp.zeros((0, 3))}])
def test_an_empty_tree_has_norm_zero(empty):
    updates, state = update(funcopt.clip_by_global_norm(1.0), empty, empty)
    assert jax.tree.structure(updates) == jax.tree.structure(empty)
    assert floats(funcopt.metrics(state)) == {"grad_norm": 0.0, "clip_ratio": 1.0, "clipped": 0.0}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_norm_of_half_precision_is_taken_in_float32(dtype):
    """In float16 the square of 300 overflows, and so would the norm of these."""
    grads = {"w": jnp.array([300.0, -400.0], dtype), "v": jnp.full(1000, 1e-4, dtype)}
    updates, state = update(funcopt.clip_by_global_norm(5.0), grads, grads)
    assert state.grad_norm.dtype == state.clip_ratio.dtype == jnp.float32
    np.testing.assert_allclose(state.grad_norm, 500.0, rtol=1e-5)
    assert updates["w"].dtype == dtype
    np.testing.assert_allclose(updates["w"].astype(jnp.float32), [3.0, -4.0], rtol=1e-2)


def test_small_half_precision_gradients_do_not_underflow():
    """The square of 1e-4 is 0 in float16."""
    grads = {"w": jnp.full(100, 1e-4, jnp.float16)}
    _, state = update(funcopt.clip_by_global_norm(1.0), grads, grads)
    np.testing.assert_allclose(state.grad_norm, 1e-3, rtol=1e-3)


@pytest.mark.parametrize("max_norm", [1.0, math.inf])
def test_a_nan_is_not_hidden(max_norm):
    grads = {"a": jnp.array([jnp.nan, 1.0]), "b": {"c": jnp.array([[1.0]])}}
    updates, state = update(funcopt.clip_by_global_norm(max_norm), grads)
    assert np.isnan(float(state.grad_norm))
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(updates))


def test_an_infinity_is_not_hidden():
    grads = {"a": jnp.array([jnp.inf, 1.0]), "b": {"c": jnp.array([[1.0]])}}
    updates, state = update(funcopt.clip_by_global_norm(1.0), grads)
    assert floats(funcopt.metrics(state)) == {
        "grad_norm": math.inf,
        "clip_ratio": 0.0,
        "clipped": 1.0,
    }
    assert np.isnan(updates["a"][0])
    assert float(updates["b"]["c"][0, 0]) == 0.0
    measured, state = update(funcopt.clip_by_global_norm(math.inf), grads)
    assert_same(measured, grads)
    assert float(state.grad_norm) == math.inf


@pytest.mark.default_promotion
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 12.99, 13.0, 100.0])
def test_the_clip_equals_optaxs(max_norm):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7),
        update(funcopt.clip_by_global_norm(max_norm))[0],
        update(optax.clip_by_global_norm(max_norm))[0],
    )


@pytest.mark.default_promotion
def test_complex_gradients_count_with_both_parts():
    grads = {"w": jnp.array([3 + 4j])}
    updates, state = update(funcopt.clip_by_global_norm(1.0), grads, grads)
    assert float(state.grad_norm) == 5.0
    np.testing.assert_allclose(updates["w"], [0.6 + 0.8j], rtol=1e-6)


def test_a_closed_gate_keeps_the_report_of_the_last_step():
    tx = funcopt.clip_by_global_norm(1.0)
    _, state = update(tx)
    _, closed = tx.update(PARAMS, state, PARAMS, gate=jnp.array(False))
    assert_same(closed, state)


def test_one_program_clips_at_many_norms():
    tx = funcopt.clip_by_global_norm(jnp.array([1.3, 13.0, 26.0]))

    def clipped(tx):
        updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        return state.clip_ratio, funcopt.global_norm(updates)

    ratios, norms = jax.vmap(clipped, in_axes=(tx.in_axes,))(tx)
    np.testing.assert_allclose(ratios, [0.1, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(norms, [1.3, 13.0, 13.0], rtol=1e-6)


FLOATS = st.floats(-(2.0**50), 2.0**50, width=32)


@given(st.lists(FLOATS, min_size=1, max_size=4), st.floats(0, 2.0**50, width=32))
def test_the_clip_shortens_and_keeps_the_direction(values, max_norm):
    values = [*values, *[0.0] * (4 - len(values))]
    grads = {"w": jnp.array(values, jnp.float32)}
    tx = funcopt.clip_by_global_norm(1.0).replace(max_norm=max_norm)
    updates, state = update(tx, grads, grads)
    norm = np.linalg.norm(np.array(values, np.float64))
    after = np.linalg.norm(np.asarray(updates["w"], np.float64))
    assert after <= min(norm, max_norm) * (1 + 1e-5) + 1e-30
    np.testing.assert_allclose(
        updates["w"], np.float64(state.clip_ratio) * np.array(values), rtol=1e-6, atol=1e-37
    )


# -- storage --------------------------------------------------------------------------------------


def slot_dtypes(tx, dtype="float32"):
    state = tx.init({"w": jnp.ones(2, dtype)})
    return {
        name: slot["w"].dtype.name
        for slots in state.slots
        for name, slot in slots._asdict().items()
    }


@pytest.mark.parametrize(
    ("tx", "dtypes"),
    [
        (funcopt.adam(0.1), {"mu": "float32", "nu": "float32"}),
        (funcopt.adam(0.1, storage="bfloat16"), {"mu": "bfloat16", "nu": "float32"}),
        (funcopt.adam(0.1, storage="float16"), {"mu": "float16", "nu": "float32"}),
        (funcopt.adam(0.1, storage={"mu": jnp.bfloat16}), {"mu": "bfloat16", "nu": "float32"}),
        (funcopt.adam(0.1, mu_dtype="bfloat16"), {"mu": "bfloat16", "nu": "float32"}),
        (
            funcopt.adam(0.1, mu_dtype="float32", storage="bfloat16"),
            {"mu": "float32", "nu": "float32"},
        ),
        (funcopt.sgd(0.1, 0.9, accumulator_dtype="bfloat16"), {"trace": "bfloat16"}),
        (funcopt.lion(0.1, storage={"mu": "float16"}), {"mu": "float16"}),
        (
            funcopt.rmsprop(0.1, centered=True, momentum=0.9, storage={"trace": "bfloat16"}),
            {"mu": "float32", "nu": "float32", "trace": "bfloat16"},
        ),
        (
            funcopt.amsgrad(0.1, storage="bfloat16"),
            {"mu": "bfloat16", "nu": "float32", "nu_max": "float32"},
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_slots_are_kept_as_the_storage_says(tx, dtypes, dtype):
    """For parameters in half precision too, whose slots are float32 otherwise."""
    assert slot_dtypes(tx, dtype) == dtypes
    params = {"w": jnp.ones(2, dtype)}
    state = tx.init(params)
    _, after = jax.jit(tx.update)(params, state, params)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)


def test_storage_takes_dtypes_and_their_names():
    assert funcopt.adam(0.1, storage=jnp.bfloat16) == funcopt.adam(0.1, storage="bfloat16")
    assert hash(funcopt.adam(0.1, storage={"mu": jnp.bfloat16})) == hash(
        funcopt.adam(0.1, storage={"mu": "bfloat16"})
    )


def test_what_is_stored_is_the_rounded_slot():
    """The arithmetic stays in float32: only what is kept between steps is rounded."""
    tx, exact = funcopt.adam(0.1, storage="bfloat16"), funcopt.adam(0.1)
    (updates, state), (expected, wide) = update(tx), update(exact)
    assert_same(updates, expected)
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide.slots[0].mu)
    assert_same(state.slots[0].mu, rounded)
