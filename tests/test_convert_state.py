"""States that go on in another storage, or in another library."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

import funcopt
from funcopt.storage import ByKind
from funcopt.storage.kept import Coded, decoded

FULL = ByKind("dynamic8", "log8", min_size=0, min_ndim=0, full=None)
PARAMS = {
    "w": jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((64, 96)))),
    "b": jnp.ones(3),
}


def grads(step):
    random = np.random.default_rng(step)
    return jax.tree.map(lambda x: jnp.asarray(np.float32(random.standard_normal(x.shape))), PARAMS)


def after(tx, count, state=None, params=PARAMS, begin=0, **extra):
    state = tx.init(params) if state is None else state
    update = jax.jit(tx.update)
    for i in range(begin, begin + count):
        updates, state = update(grads(i), state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


def wide(tree):
    return jax.tree.map(
        lambda x: decoded(x, jnp.float32), tree, is_leaf=lambda x: isinstance(x, Coded)
    )


@pytest.mark.parametrize("storage", ["8bit", "4bit", "16bit", {"mu": "bfloat16"}, FULL], ids=str)
def test_a_state_goes_on_in_another_storage_and_back(storage):
    plain, few = funcopt.adamw(1e-2), funcopt.adamw(1e-2, storage=storage)
    params, state = after(plain, 3)
    there = funcopt.convert_state(state, few, params)
    like = jax.eval_shape(few.init, params)
    assert jax.tree.structure(there) == jax.tree.structure(like)
    back = funcopt.convert_state(there, plain, params)
    assert int(back.count) == 3
    np.testing.assert_array_equal(wide(there.mu)["w"], back.mu["w"])
    again = funcopt.convert_state(back, few, params)
    jax.tree.map(np.testing.assert_array_equal, wide(again.slots), wide(there.slots))
    after(few, 1, there, params, begin=3)


def test_what_is_kept_in_the_same_way_is_the_same_bits():
    few = funcopt.adamw(1e-2, storage="8bit")
    params, state = after(few, 3)
    other = funcopt.adamw(1e-2, storage={"mu": "int8", "nu": "log8"})
    new = funcopt.convert_state(state, other, params)
    jax.tree.map(np.testing.assert_array_equal, new.nu, state.nu)
    assert new.mu["w"].codec.name == "int8"


def test_through_wrappers_and_tree_rules():
    for make in (
        lambda storage: funcopt.guard(funcopt.average(funcopt.adam(1e-3, storage=storage))),
        lambda storage: funcopt.accumulate(funcopt.prodigy(storage=storage), every=1),
        lambda storage: funcopt.partition({"w": funcopt.muon(0.02)}, otherwise=funcopt.sgd(0.1),
                                          storage=storage),
    ):  # fmt: skip
        plain, few = make(None), make("8bit")
        params, state = after(plain, 2)
        there = funcopt.convert_state(state, few, params)
        structures = [jax.tree.structure(x) for x in (there, jax.eval_shape(few.init, params))]
        assert structures[0] == structures[1]
        after(few, 1, there, params, begin=2)


SAME = {
    "adam": (optax.adam(1e-2, b2=0.99), funcopt.adam(1e-2, b2=0.99)),
    "adamw": (optax.adamw(1e-2), funcopt.adamw(1e-2)),
    "scheduled": (
        optax.adamw(optax.linear_schedule(1e-2, 0.0, 10)),
        funcopt.adamw(optax.linear_schedule(1e-2, 0.0, 10)),
    ),
    "clipped": (
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-2)),
    ),
    "momentum": (optax.sgd(0.1, momentum=0.9), funcopt.sgd(0.1, momentum=0.9)),
    "lion": (optax.lion(1e-3), funcopt.lion(1e-3)),
}


@pytest.mark.default_promotion
@pytest.mark.parametrize("name", list(SAME))
def test_a_live_state_of_optax_goes_on_and_comes_back(name):
    theirs, ours = SAME[name]
    params, state = after(theirs, 3)
    whole, _ = after(theirs, 6)
    moved, after_it = after(ours, 3, funcopt.convert_state(state, ours, params), params, begin=3)
    for x, y in zip(jax.tree.leaves(moved), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=2e-6)
    params, state = after(ours, 3)
    back = funcopt.convert_state(state, theirs, params)
    assert jax.tree.structure(back) == jax.tree.structure(theirs.init(params))
    moved, _ = after(theirs, 3, back, params, begin=3)
    for x, y in zip(jax.tree.leaves(moved), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=2e-6)
    assert after_it is not None


@pytest.mark.default_promotion
def test_optax_s_state_goes_on_in_eight_bits():
    theirs, ours = optax.adamw(1e-2), funcopt.adamw(1e-2, storage="8bit")
    params, state = after(theirs, 3)
    there = funcopt.convert_state(state, ours, params)
    assert there.nu["w"].codec.name == "log8"
    np.testing.assert_allclose(wide(there.nu)["w"], state[0].nu["w"], rtol=0.045)


class Pair(NamedTuple):
    """Parameters that are a named tuple, as states are."""

    w: Any
    b: Any


LABELS = {"w": "matrix", "b": "rest"}
BY_NAMES = {
    "a number": (optax.adam(1e-2), funcopt.adam(1e-2), 2.0),
    "a named tuple": (optax.adam(1e-2), funcopt.guard(funcopt.adam(1e-2)), Pair(**PARAMS)),
    "groups of other labels": (
        optax.multi_transform({"matrix": optax.adam(1e-2), "rest": optax.adam(1e-2)}, LABELS),
        funcopt.partition({"b": funcopt.adam(1e-2), "w": funcopt.adam(1e-2)}),
        PARAMS,
    ),
    "injected": (
        optax.inject_hyperparams(optax.adam)(learning_rate=1e-2),
        funcopt.adam(1e-2),
        PARAMS,
    ),
    "to the host": (optax.adam(1e-2), funcopt.offload(funcopt.adam(1e-2)), PARAMS),
    "from the host": (funcopt.offload(funcopt.adam(1e-2)), optax.adam(1e-2), PARAMS),
    "monitored": (funcopt.monitor(funcopt.adam(1e-2)), funcopt.adam(1e-2), PARAMS),
}


@pytest.mark.default_promotion
@pytest.mark.parametrize("name", list(BY_NAMES))
def test_slots_go_by_their_names_and_paths(name):
    theirs, ours, params = BY_NAMES[name]
    params = jax.tree.map(jnp.asarray, params)
    _, state = theirs.update(jax.tree.map(jnp.sin, params), theirs.init(params), params)
    new = funcopt.convert_state(state, ours, params)
    like = ours.init(params)
    assert jax.tree.structure(new) == jax.tree.structure(like)
    for x, y in zip(*map(jax.tree.leaves, (new, like)), strict=True):
        assert jax.typeof(x) == jax.typeof(y)

    def moments(state):
        found = optax.tree.get_all_with_path(state, "mu")
        return {str(path[-1:]): x for path, x in jax.tree.leaves_with_path([x for _, x in found])}

    assert all(int(x) == 1 for _, x in optax.tree.get_all_with_path(new, "count"))
    assert moments(new).keys() == moments(state).keys()
    for path, x in moments(state).items():
        np.testing.assert_array_equal(moments(new)[path], x)


def test_numbers_that_were_learnt_go_along():
    """And the rest of the bits of weights, and optax's numbers of the same names."""
    params = {"w": jnp.linspace(1, 2, 12).reshape(3, 4)}
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    for theirs, ours, name, here in (
        (funcopt.prodigy(), funcopt.skip_nonfinite(funcopt.prodigy()), "d", params),
        (optax.contrib.schedule_free_sgd(1e-2), funcopt.schedule_free_sgd(1e-2), "weight_sum",
         params),
        (funcopt.master_weights(funcopt.sgd(1e-3)),
         funcopt.guard(funcopt.master_weights(funcopt.sgd(1e-3))), "master", half),
        (optax.optimistic_gradient_descent(1e-2), funcopt.optimistic_gradient_descent(1e-2),
         "previous_gradient", params),
    ):  # fmt: skip
        state = theirs.init(here)
        for _ in range(2):
            _, state = jax.jit(theirs.update)(here, state, here)
        new = funcopt.convert_state(state, ours, here)
        was, got = (optax.tree.get(x, name) for x in (state, new))
        jax.tree.map(np.testing.assert_array_equal, got, was)
        assert any(np.any(np.asarray(x) != 0) for x in jax.tree.leaves(got)), name
        # Of optimistic descent optax's state tells no more than that there was a step.
        steps = 1 if name == "previous_gradient" else 2
        assert int(optax.tree.get_all_with_path(new, "count")[0][1]) == steps, name


@pytest.mark.default_promotion
def test_what_optax_calls_a_count_begins_with_what_it_begins_with():
    params = {"w": jnp.ones(3)}
    for ours, theirs, name, counted in (
        (funcopt.schedule_free_sgd(1e-2), optax.contrib.schedule_free_sgd(1e-2), "step_count",
         [1, 2, 3]),
        (funcopt.optimistic_gradient_descent(1e-2), optax.optimistic_gradient_descent(1e-2),
         "is_initial_step", [True, False, False]),
    ):  # fmt: skip
        state = ours.init(params)
        for count in counted:
            new = funcopt.convert_state(state, theirs, params)
            assert optax.tree.get(new, name) == count
            _, state = ours.update(params, state, params)


def test_weights_begin_with_the_parameters():
    inner, params = funcopt.adam(1e-3), jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    for kind in ("int16", "float32"):
        tx = funcopt.master_weights(inner, kind)
        new = funcopt.convert_state(inner.init(params), tx, params)
        jax.tree.map(np.testing.assert_array_equal, new, tx.init(params))


HALF = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)


@pytest.mark.parametrize(
    ("state", "tx", "params", "said"),
    [
        (optax.rmsprop(0.1, momentum=0.9).init(PARAMS), funcopt.rmsprop(0.1, momentum=0.9), PARAMS,
         "`trace` of optax's rmsprop is of steps, with the learning rate"),
        (funcopt.rmsprop(0.1, momentum=0.9).init(PARAMS), optax.rmsprop(0.1, momentum=0.9), PARAMS,
         "`trace` of optax's rmsprop is of steps, with the learning rate"),
        (funcopt.adamax(0.1).init(PARAMS), funcopt.adam(0.1), PARAMS,
         "the state has AdamaxSlots, and the transformation keeps Moments"),
        (funcopt.adamax(0.1).init(PARAMS), funcopt.guard(funcopt.adam(0.1)), PARAMS,
         "the state has AdamaxSlots, and the transformation keeps Moments"),
        (optax.contrib.dowg(1.0).init(PARAMS), funcopt.dowg(), PARAMS, "has learnt 'distance'"),
        (funcopt.master_weights(funcopt.sgd(0.1), "float32").init(HALF),
         funcopt.master_weights(funcopt.sgd(0.1)), HALF,
         "master/b is kept in float32, and the transformation keeps it in int16"),
        (PARAMS, funcopt.sgd(0.1), PARAMS, "the state has the slots none"),
        (funcopt.sgd(0.1, momentum=0.9).init(PARAMS), funcopt.adam(0.1), PARAMS,
         "the state has the slots trace, and the transformation keeps mu, nu"),
        (funcopt.amsgrad(0.1).init(PARAMS), funcopt.adam(0.1), PARAMS, "keeps mu, nu"),
        (funcopt.adam(0.1).init(PARAMS), funcopt.adam(0.1), {**PARAMS, "w": jnp.ones((2, 3))},
         r"mu/w has shape \(64, 96\), and the transformation keeps \(2, 3\)"),
        (funcopt.adam(0.1).init(PARAMS), funcopt.adam(0.1), {"v": PARAMS["w"]},
         "the state's mu is for the parameters b, w, not for v"),
        ((funcopt.adam(0.1).init(PARAMS),) * 2, funcopt.adam(0.1), PARAMS,
         "there are 2 slots 'mu' in the state and 1 in the transformation"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(state, tx, params, said):
    with pytest.raises(ValueError, match=said):
        funcopt.convert_state(state, tx, params)


@pytest.mark.default_promotion
def test_what_is_complex_is_not_cut_to_its_real_part():
    """By no conversion, and by no step with the state of parameters of the other kind."""
    real = {"w": jnp.ones(3)}
    imaginary = {"w": jnp.full(3, 1j, jnp.complex64)}
    for tx in (
        funcopt.adam(0.1),
        funcopt.prodigy(),
        funcopt.lookahead(funcopt.sgd(0.1)),
        funcopt.accumulate(funcopt.sgd(0.1), every=2),
    ):
        for here, there in ((real, imaginary), (imaginary, real)):
            with pytest.raises(TypeError, match=r"complex (parameter|mu)|is (float32|complex64)"):
                tx.update(there, tx.init(here), there)
        with pytest.raises(ValueError, match=r"is complex .* the transformation keeps it real"):
            funcopt.convert_state(tx.init(imaginary), tx, real)
    tx = funcopt.adam(0.1)
    new = funcopt.convert_state(tx.update(real, tx.init(real), real)[1], tx, imaginary)
    np.testing.assert_allclose(new.mu["w"], 0.1 + 0j, rtol=1e-6)


def test_what_is_no_state_is_told():
    tx, params = funcopt.adam(0.1), {"w": jnp.ones(3)}
    state = tx.init(params)
    several = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    many = jax.tree.map(lambda x: jnp.stack([x, x]), params)
    shapes = jax.eval_shape(tx.init, params)
    for given, other, said in (
        (state, "adam", "tx must be a transformation, got 'adam'"),
        (shapes, tx, "shapes and types in the place of arrays"),
    ):
        with pytest.raises(TypeError, match=said):
            funcopt.convert_state(given, other, params)
    with pytest.raises(ValueError, match=r"counts of shape \(2,\), one for each of several runs"):
        funcopt.convert_state(several, funcopt.guard(tx), many)
    each = jax.vmap(lambda s, p: funcopt.convert_state(s, funcopt.guard(tx), p))(several, many)
    assert each.inner.count.shape == (2,)


def test_orbax_saves_and_restores_codes(tmp_path):
    tx = funcopt.guard(funcopt.adamw(1e-2, storage="4bit"))
    params, state = after(tx, 2)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "checkpoint", jax.eval_shape(tx.init, params))
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    one, other = after(tx, 2, state, params, begin=2), after(tx, 2, restored, params, begin=2)
    jax.tree.map(np.testing.assert_array_equal, one, other)
