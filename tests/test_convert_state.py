"""States that go on in another storage, or in another library."""

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
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)
    params, state = after(ours, 3)
    back = funcopt.convert_state(state, theirs, params)
    assert jax.tree.structure(back) == jax.tree.structure(theirs.init(params))
    moved, _ = after(theirs, 3, back, params, begin=3)
    for x, y in zip(jax.tree.leaves(moved), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)
    assert after_it is not None


@pytest.mark.default_promotion
def test_optax_s_state_goes_on_in_eight_bits():
    theirs, ours = optax.adamw(1e-2), funcopt.adamw(1e-2, storage="8bit")
    params, state = after(theirs, 3)
    there = funcopt.convert_state(state, ours, params)
    assert there.nu["w"].codec.name == "log8"
    np.testing.assert_allclose(wide(there.nu)["w"], state[0].nu["w"], rtol=0.045)


@pytest.mark.parametrize(
    ("state", "tx", "params", "said"),
    [
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
