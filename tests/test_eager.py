"""Outside of `jit` a step compiles what it needs once, and nothing at the next step."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

import funcopt
from tests.catalog import BLOCKS, ROWS, each
from tests.compilations import of_eager_steps

WRAPPED = {
    "guard": funcopt.guard(funcopt.adam(0.1)),
    "guard, updates checked": funcopt.guard(funcopt.adam(0.1), check_updates=True),
    "accumulate": funcopt.accumulate(funcopt.adam(0.1), 3),
    "rollback": funcopt.rollback(funcopt.guard(funcopt.adam(0.1)), every=2, patience=2),
    "loss_scale": funcopt.loss_scale(funcopt.sgd(0.1)),
    "schedule_free": funcopt.schedule_free_radam(0.1),
    "mechanize": funcopt.mechanize(funcopt.sgd(0.1)),
    "hypergradient": funcopt.hypergradient(funcopt.identity()),
    "partition": funcopt.partition({"w": funcopt.adam(0.1 * funcopt.on_plateau()), "b": None}),
    "scheduled": funcopt.guard(funcopt.adam(funcopt.warmup_cosine_decay_schedule(0, 1, 5, 50))),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_ten_steps_compile_nothing(name):
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    assert of_eager_steps(WRAPPED[name], params, params, value=jnp.float32(1.0)) == 0


SOME = {row.name for row in ROWS[::10]}


@each(ROWS + BLOCKS, where=lambda row: "axis_name" in row.accepts or row.name in SOME)
def test_ten_steps_of_a_row_compile_nothing(row):
    params = jnp.ones((3, 2))
    assert of_eager_steps(row.descending(), params, params, value=jnp.float32(1.0)) == 0
