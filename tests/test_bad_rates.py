"""A learning rate that is not finite makes a step that is not taken."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

PARAMS = {"w": jnp.ones(3), "b": jnp.array([-0.0])}
GRADS = jax.tree.map(lambda x: x + 0.5, PARAMS)


def bad(step: Any) -> Any:
    """Finite at the steps 0 and 1 only."""
    return jnp.where(step < 2, 0.1, jnp.nan)


INSIDE = {
    "adam": funcopt.adam(bad),
    "chain": funcopt.chain(funcopt.clip(1.0), funcopt.scale_by_adam(), funcopt.descend(bad)),
    "product": funcopt.sgd(0.5 * funcopt.on_plateau() * bad),
    "listening beside": funcopt.adam(bad, b1=0.5 + 0.1 * funcopt.on_plateau()),
    "group": funcopt.partition({"w": funcopt.adam(0.1), "": funcopt.sgd(bad)}),
    "dog": funcopt.dog(bad),
    "prodigy": funcopt.prodigy(bad),
    "momo": funcopt.momo(bad),
    "stable_adamw": funcopt.stable_adamw(bad),
    "schedule_free": funcopt.schedule_free_sgd(bad),
    "mechanize": funcopt.mechanize(funcopt.sgd(bad)),
    "monitor": funcopt.monitor(funcopt.adam(bad)),
    "accumulate": funcopt.accumulate(funcopt.adam(bad), 1),
    "skip_nonfinite": funcopt.skip_nonfinite(funcopt.adam(bad)),
}


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", INSIDE)
def test_nothing_moves(name):
    tx = funcopt.guard(INSIDE[name])
    step = jax.jit(lambda s, p: funcopt.step(tx, GRADS, s, p, value=jnp.float32(1.0)))
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(2):
        params, state = step(state, params)
    assert int(state.nonfinite) == 0
    after, then = step(state, params)
    assert bits(after) == bits(params) != bits(PARAMS)
    assert bits(then.inner) == bits(state.inner)
    assert (int(then.nonfinite), bool(then.skipped)) == (1, True)


def test_other_schedules_that_are_nan():
    """An infinite threshold never clips."""
    nan = funcopt.linear_schedule(0.1, 0.0, 5) * bad
    for inside, moves in (
        (funcopt.adamw(0.1, weight_decay=nan), False),
        (funcopt.adamw(0.1, b1=0.5 + nan), False),
        (funcopt.adamw(0.1, weight_decay=bad), False),
        (funcopt.chain(funcopt.clip_by_global_norm(nan), funcopt.sgd(0.1)), False),
        (funcopt.chain(funcopt.clip_by_global_norm(1 + 0 * nan), funcopt.sgd(0.1)), False),
        (funcopt.chain(funcopt.clip_by_global_norm(lambda t: jnp.inf), funcopt.sgd(0.1)), True),
    ):
        tx = funcopt.guard(inside)
        state = tx.init(PARAMS)
        for _ in range(3):
            updates, state = tx.update(GRADS, state, PARAMS)
        assert bool(updates["w"].any()) is moves
        assert int(state.nonfinite) == (not moves)


def test_a_state_of_other_schedules_is_refused_in_their_words():
    both = funcopt.on_plateau(), funcopt.on_newbob()
    plateau, newbob = (funcopt.guard(funcopt.adam(each)) for each in both)
    for now in (newbob, funcopt.guard(funcopt.adam(funcopt.on_plateau() * funcopt.on_newbob()))):
        with pytest.raises(ValueError, match="schedule"):
            now.update(GRADS, plateau.init(PARAMS), PARAMS, value=1.0)


def test_rollback_counts_it_as_bad():
    tx = funcopt.rollback(funcopt.adam(bad), patience=2)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(4):
        params, state = funcopt.step(tx, GRADS, state, params)
    assert int(state.bad) == 2
    assert int(state.inner.count) == 2


def test_rates_that_are_arrays():
    tx = funcopt.guard(funcopt.sgd(jnp.array(0.1)))

    @jax.jit
    def run(rate: Any) -> Any:
        now = funcopt.guard(funcopt.sgd(rate))
        return funcopt.step(now, GRADS, tx.init(PARAMS), PARAMS)

    assert bits(run(jnp.nan)[0]) == bits(PARAMS)
    assert int(run(jnp.inf)[1].nonfinite) == 1
    assert int(run(0.1)[1].nonfinite) == 0
