"""Large leaves in chunks: the same numbers, bit by bit, for a small part of the memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

STORED = (
    "8bit",
    "4bit",
    pytest.param(funcopt.storage.Dynamic8(block=32), marks=pytest.mark.every_row),
)


def tree() -> dict[str, Any]:
    """71 rows, which leave some for the end; a stack; and small ones."""
    rng = np.random.default_rng(0)
    shapes = {"matrix": (71, 96), "stack": (6, 16, 64), "bias": (96,), "number": ()}
    return {name: jnp.asarray(rng.normal(size=x), jnp.float32) for name, x in shapes.items()}


def run(tx: Any, gate: Any = None) -> Any:
    params = tree()
    state = tx.init(params)

    @jax.jit
    def step(grads, state, params):
        extra = {} if gate is None else {"gate": gate}
        return funcopt.step(tx, grads, state, params, **extra)

    for i in range(3):
        grads = jax.tree.map(lambda x, i=i: x * jnp.cos(3.0 * x + i), tree())
        params, state = step(grads, state, params)
    return params, state


@pytest.mark.parametrize("storage", STORED, ids=str)
def test_the_numbers_are_those_without(storage):
    """The noise of codes too, which is that of an element's index in its leaf."""
    tx = funcopt.adamw(0.1, weight_decay=0.1, storage=storage)
    (params, state), whole = run(funcopt.chunked(tx, 1536)), run(tx)
    chex.assert_trees_all_equal(state, whole[1])
    chex.assert_trees_all_close(params, whole[0], rtol=1e-6)


def test_in_chains_and_behind_a_gate():
    tx = funcopt.guard(
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.lion(0.1, storage="8bit"))
    )
    got, want = run(funcopt.chunked(tx, 1536)), run(tx)
    chex.assert_trees_all_equal(got[1].inner[1], want[1].inner[1])
    inner = funcopt.adam(0.1, storage="8bit")
    shut = run(funcopt.chunked(inner, 1536), gate=jnp.array(False))
    chex.assert_trees_all_equal(shut, (tree(), inner.init(tree())))


def test_half_precision():
    tx = funcopt.adamw(0.1, weight_decay=0.1, storage="8bit")
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree())
    ends = []
    for each in (funcopt.chunked(tx, 1536), tx):
        step = jax.jit(partial(funcopt.step, each))
        ends.append(step(params, each.init(params), params))
    chex.assert_trees_all_close(*ends, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Some donated buffers")  # gradients, which nothing becomes
def test_memory_is_that_of_a_chunk():
    """Of four leaves of a million elements: what is there between, in leaves of float32."""

    def temporaries(tx: Any, dtype: str = "float32") -> float:
        params = {str(i): jax.ShapeDtypeStruct((1024, 1024), dtype) for i in range(4)}
        params = jax.eval_shape(lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params))
        state = jax.eval_shape(tx.init, params)
        step = jax.jit(partial(funcopt.step, tx), donate_argnums=(0, 1, 2))
        analysis = step.lower(params, state, params).compile().memory_analysis()
        return analysis.temp_size_in_bytes / 2**22

    tx = funcopt.adamw(1e-3, storage="8bit")
    assert temporaries(tx) > 8
    assert temporaries(funcopt.chunked(tx, 2**16)) < 0.5
    assert temporaries(funcopt.chunked(funcopt.adamw(1e-3), 2**16)) < 0.01
    # What is in bfloat16 XLA for the CPU copies, once.
    assert temporaries(funcopt.chunked(tx, 2**16), "bfloat16") < 3


def test_what_it_is():
    tx = funcopt.chunked(funcopt.adam(1e-3), 1024)
    assert repr(tx) == "chunked(inner=adam(learning_rate=0.001), elements=1024)"
    chex.assert_trees_all_equal(tx.init(tree()), funcopt.adam(1e-3).init(tree()))
    told = str(funcopt.describe(funcopt.chunked(funcopt.adam(1e-3, storage="8bit")), tree()))
    assert "adam" in told
    with pytest.raises(ValueError, match="elements must be"):
        funcopt.chunked(funcopt.adam(1e-3), 0)
