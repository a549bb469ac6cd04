"""A state goes on under other settings with the right numbers, or a sentence says what differs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

ONE = jnp.ones(2)
LAST = 2**31 - 1


def trained(tx: Any, grads: Any, state: Any = None, params: Any = ONE) -> tuple[Any, Any]:
    state = tx.init(params) if state is None else state
    for grad in grads:
        params, state = funcopt.step(tx, jnp.full(2, grad), state, params)
    return params, state


@pytest.mark.parametrize("every", [1, 2, 3])
def test_fewer_micro_batches_in_the_middle_of_a_round(every):
    """The next one ends the round, with the mean of all that came; then rounds are shorter."""
    params, state = trained(funcopt.accumulate(funcopt.sgd(1.0), 4), [1.0, 2.0, 3.0])
    now = funcopt.accumulate(funcopt.sgd(1.0), every)
    params, state = trained(now, [6.0], state, params)
    assert params[0] == 1 - 3
    params, state = trained(now, [1.0] * every, state, params)
    assert params[0] == 1 - 3 - 1
    assert (int(state.micro), int(state.rounds)) == (0, 2)


def test_more_micro_batches():
    params, state = trained(funcopt.accumulate(funcopt.sgd(1.0), 2), [1.0])
    params, state = trained(funcopt.accumulate(funcopt.sgd(1.0), 4), [2.0, 3.0, 6.0], state, params)
    assert params[0] == 1 - 3
    _, state = trained(funcopt.accumulate(funcopt.sgd(1.0), 1), [1.0])
    more = funcopt.accumulate(funcopt.sgd(1.0), 4)
    with pytest.raises(ValueError, match=r"made with every=1.*Go on with every=4 from"):
        more.update(ONE, state, ONE)
    goes_on = more.init(ONE)._replace(inner=state.inner)
    assert int(trained(more, [1.0] * 4, goes_on)[1].inner.count) == 2


@pytest.mark.parametrize("inner", [2, 5])
def test_a_shorter_interval_of_growth(inner):
    tx = funcopt.loss_scale(funcopt.sgd(0.1), init_scale=1.0, growth_interval=9)
    _, state = trained(tx, [1.0] * 4)
    _, state = trained(tx.replace(growth_interval=inner), [1.0], state)
    assert (float(state.scale), int(state.good_steps)) == (2.0, 0)


def test_less_hysteresis():
    tx = funcopt.loss_scale(funcopt.sgd(0.1), init_scale=8.0, hysteresis=5)
    _, state = trained(tx, [1.0])
    assert float(trained(tx, [jnp.inf], state)[1].scale) == 8.0
    assert float(trained(tx.replace(hysteresis=1), [jnp.inf], state)[1].scale) == 4.0


@pytest.mark.parametrize("patience", [1, 2])
def test_less_patience(patience):
    """Counts that are beyond a limit already count as having reached it."""
    guard = funcopt.guard(funcopt.sgd(0.1), patience=8)
    _, state = trained(guard, [1.0] * 30 + [1e6] * 4)
    _, state = trained(guard.replace(patience=patience), [1e6], state)
    assert int(state.rebased) == 1
    back = funcopt.rollback(funcopt.sgd(0.1), patience=8)
    _, state = trained(back, [1.0] * 3 + [jnp.nan] * 4)
    _, state = trained(back.replace(patience=patience, every=1), [1.0], state)
    assert int(state.rollbacks) == 1


def test_a_group_that_is_frozen_and_moves_again():
    params = {"head": jnp.ones(2), "body": jnp.ones(2)}
    both = {"head": funcopt.adam(0.1), "body": funcopt.adam(0.01)}
    free, frozen = funcopt.partition(both), funcopt.partition({**both, "body": None})
    _, start = free.update(params, free.init(params), params)
    updates, state = frozen.update(params, start, params)
    assert not updates["body"].any()
    assert updates["head"].all()
    assert jax.tree.structure(state) == jax.tree.structure(start)
    assert [int(free.update(params, state, params)[1].inner[g].count) for g in both] == [3, 2]

    with pytest.raises(ValueError, match=r"without a state: 'body'\. States without .* none"):
        free.update(params, frozen.init(params), params)
    renamed = funcopt.partition({"head": funcopt.adam(0.1), "bod": funcopt.adam(0.1)})
    with pytest.raises(
        ValueError, match=r"without a state: 'bod'\. States without a group: 'body'"
    ):
        renamed.update(params, start, params)


def test_a_parameter_that_went_to_another_group():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    groups = {"x": funcopt.adam(0.1), "y": funcopt.sgd(0.1, momentum=0.9)}
    tx, other = (
        funcopt.partition(groups, dict(zip("ab", labels, strict=True))) for labels in ("xy", "yx")
    )
    with pytest.raises(ValueError, match=r"partition, group 'x': .*without a gradient: a"):
        other.update(params, tx.init(params), params)


@pytest.mark.parametrize(
    ("wrap", "counts"),
    [
        (funcopt.guard, True),
        (funcopt.monitor, True),
        (lambda tx: funcopt.accumulate(tx, 2), False),
        (funcopt.loss_scale, True),
        (lambda tx: funcopt.rollback(tx, patience=2), True),
    ],
)
def test_a_wrapper_around_a_running_optimizer(wrap, counts):
    base = funcopt.adamw(funcopt.warmup_cosine_decay_schedule(0.0, 1e-2, 10, 100))
    params, state = trained(base, [1.0] * 5)
    tx = wrap(base)
    here = tx.init(params)._replace(inner=state)
    assert int(trained(tx, [1.0, 1.0], here, params)[1].inner.count) == (7 if counts else 6)


def test_a_rollback_around_a_running_optimizer_goes_back_to_where_it_was_put_there():
    base = funcopt.adam(0.1)
    params, state = trained(base, [1.0] * 50)
    tx = funcopt.rollback(base, patience=2)
    here = tx.init(params)._replace(inner=state)
    moved, there = trained(tx, [1.0, jnp.nan, jnp.nan], here, params)
    back, there = trained(tx, [1.0], there, moved)
    assert int(there.rollbacks) == 1
    assert int(there.inner.count) == 50
    np.testing.assert_array_equal(back, params)
    np.testing.assert_array_equal(there.inner.mu, state.mu)


def test_states_of_other_transformations_inside():
    tx = funcopt.rollback(funcopt.sgd(0.1))
    with pytest.raises(ValueError, match="snapshot is of another transformation"):
        tx.update(ONE, tx.init(ONE)._replace(inner=funcopt.adam(0.1).init(ONE)), ONE)
    six, three = (funcopt.mechanize(funcopt.sgd(1.0), num_betas=n) for n in (6, 3))
    with pytest.raises(ValueError, match=r"made with num_betas=6.*got num_betas=3"):
        three.update(ONE, six.init(ONE), ONE)


IN_HALF = {
    "guard": lambda: funcopt.guard(funcopt.adam(0.1)),
    "accumulate": lambda: funcopt.accumulate(funcopt.adam(0.1), 2),
    "rollback": lambda: funcopt.rollback(funcopt.guard(funcopt.adam(0.1)), every=1),
    "loss_scale": lambda: funcopt.loss_scale(funcopt.adam(0.1), init_scale=1.0),
    "schedule_free": lambda: funcopt.schedule_free_sgd(0.1),
    "mechanize": lambda: funcopt.mechanize(funcopt.sgd(1.0)),
    "hypergradient": lambda: funcopt.hypergradient(funcopt.identity()),
}


@pytest.mark.parametrize("name", IN_HALF)
def test_a_state_that_was_cast_to_half_precision_is_full_after_a_step(name):
    tx = IN_HALF[name]()
    state = trained(tx, [1.0, 2.0])[1]
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, state)
    _, after = trained(tx, [1.0, 2.0], half)
    kept = {x.dtype.name for x in jax.tree.leaves(after)} - {"int32", "bool"}
    assert kept == {"float32"}


@pytest.mark.parametrize("name", ["accumulate", "rollback", "schedule_free", "mechanize"])
def test_a_state_of_other_shapes_is_refused(name):
    tx = IN_HALF[name]()
    with pytest.raises(ValueError, match=r"has shape \(1,\), expected \(2,\)"):
        tx.update(ONE, tx.init(jnp.ones(1)), ONE)


WITH_COUNTS = {
    "guard": funcopt.guard(funcopt.nadam(0.1)),
    "guard, patient": funcopt.guard(funcopt.sgd(0.1), patience=LAST),
    "accumulate": funcopt.accumulate(funcopt.nadam(0.1, variant="pytorch"), 1),
    "rollback": funcopt.rollback(funcopt.sgd(0.1), patience=LAST, every=LAST),
    "loss_scale": funcopt.loss_scale(funcopt.sgd(0.1), init_scale=1.0),
    "schedule_free": funcopt.schedule_free_sgd(0.1, warmup_steps=5),
    "schedule_free_radam": funcopt.schedule_free_radam(0.1),
    "mechanize": funcopt.mechanize(funcopt.sgd(1.0)),
    "hypergradient": funcopt.hypergradient(funcopt.identity()),
}


@pytest.mark.parametrize("name", WITH_COUNTS)
def test_counts_stay_at_their_last_number(name):
    tx = WITH_COUNTS[name]

    def is_count(x: Any) -> bool:
        return jnp.ndim(x) == 0 and x.dtype == jnp.int32

    state = jax.tree.map(lambda x: jnp.int32(LAST) if is_count(x) else x, tx.init(ONE))
    update = jax.jit(tx.update)
    for grad in (1.0, jnp.nan, 1e9, 1.0) if "schedule" not in name else (1.0, 1.0):
        if name in ("mechanize", "hypergradient"):
            grad = 1.0
        updates, state = update(jnp.full(2, grad), state, ONE)
        assert jnp.isfinite(updates).all() or name == "accumulate"
        assert min(int(x) for x in jax.tree.leaves(state) if is_count(x)) >= 0
