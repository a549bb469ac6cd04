"""Inside of `shard_map` a loop carries the states of wrappers, and they agree on numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import funcopt
from funcopt.math.varying import varying_like
from tests.compiling import devices

WRAPPED = {
    "guard": lambda axis: funcopt.guard(funcopt.adam(0.1), axis_name=axis),
    "guard, updates checked": lambda axis: funcopt.guard(
        funcopt.adam(0.1), check_updates=True, axis_name=axis
    ),
    "accumulate": lambda axis: funcopt.accumulate(funcopt.adam(0.1), 2, axis_name=axis),
    "accumulate one": lambda axis: funcopt.accumulate(funcopt.adam(0.1), 1, axis_name=axis),
    "rollback": lambda axis: funcopt.rollback(
        funcopt.guard(funcopt.adam(0.1), axis_name=axis), axis_name=axis
    ),
    "loss_scale": lambda axis: funcopt.loss_scale(
        funcopt.guard(funcopt.adam(0.1), axis_name=axis), axis_name=axis
    ),
    "schedule_free": lambda axis: funcopt.schedule_free_adamw(0.1),
    "gpa": lambda axis: funcopt.gpa(funcopt.adam(0.1)),
    "partition": lambda axis: funcopt.partition({"w": funcopt.adam(0.1), "": None}),
    "master_weights": lambda axis: funcopt.master_weights(funcopt.adam(0.1)),
    "kahan": lambda axis: funcopt.kahan(funcopt.adam(0.1)),
    "stochastic_rounding": lambda axis: funcopt.stochastic_rounding(funcopt.adam(0.1)),
}
HALF = ("master_weights", "kahan", "stochastic_rounding")
BY_DEVICE, COPY = PartitionSpec("d"), PartitionSpec()


def steps(tx: Any, params: Any, values: Any, mean: bool) -> tuple[Any, Any]:
    """A loop of steps whose gradients follow from what this device holds."""

    def step(carry: Any, value: Any) -> tuple[Any, None]:
        params, state = carry
        value = value.sum()
        grad = jax.lax.pmean(value, "d") if mean else value
        grads = jax.tree.map(lambda x: 0 * x + grad.astype(x.dtype), params)
        return funcopt.step(tx, grads, state, params, value=value), None

    return jax.lax.scan(step, (params, tx.init(params)), values)[0]


def local(tx: Any, params: Any, values: Any) -> Any:
    """Each device trains parameters of its own."""
    params = jax.tree.map(lambda x: varying_like(x, values), params)
    return jax.tree.map(lambda x: x[None], steps(tx, params, values, mean=False))


def sharded(tx: Any, params: Any, values: Any) -> Any:
    """Each device holds a part of the parameters; numbers of the state are those of all."""
    params, state = steps(tx, params, values, mean=False)
    return params, [x for x in jax.tree.leaves(state) if not jnp.ndim(x)]


def replicated(tx: Any, params: Any, values: Any) -> Any:
    return steps(tx, params, values, mean=True)


@pytest.mark.parametrize(
    ("run", "axis", "held", "given"),
    [
        (local, None, COPY, BY_DEVICE),
        (local, "d", COPY, BY_DEVICE),
        (sharded, "d", BY_DEVICE, (BY_DEVICE, COPY)),
        (replicated, "d", COPY, COPY),
    ],
)
@pytest.mark.parametrize("name", WRAPPED)
def test_types_stay_in_a_loop(name, run, axis, held, given):
    """On a mesh of one device types are what they are on many."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("d",))
    mapped = jax.shard_map(
        lambda p, v: run(WRAPPED[name](axis), p, v), mesh=mesh,
        in_specs=(held, PartitionSpec(None, "d")), out_specs=given,
    )  # fmt: skip
    dtype = jnp.bfloat16 if name in HALF else jnp.float32
    params = {"w": jnp.ones((4, 2), dtype), "b": jnp.ones(2)}
    jax.eval_shape(mapped, params, jnp.ones((3, 1)))


@pytest.mark.parametrize("averaged", [False, True])
def test_microbatched(averaged):
    """Its results vary where the function's do, and nowhere else."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("d",))

    def given(w: Any, x: Any) -> Any:
        value, grad = jax.value_and_grad(lambda w: jnp.mean((w - x) ** 2))(w)
        return (jax.lax.pmean(value, "d"), grad) if averaged else (value, grad)

    def body(w: Any, x: Any) -> Any:
        # The gradient of what is a copy is summed over devices by JAX.
        w = w if averaged else varying_like(w, x)
        value, grad = funcopt.microbatched(given, w, x)
        return (value, grad) if averaged else (value[None], grad[None])

    mapped = jax.shard_map(
        body, mesh=mesh, in_specs=(COPY, PartitionSpec(None, "d")),
        out_specs=COPY if averaged else BY_DEVICE,
    )  # fmt: skip
    jax.eval_shape(mapped, jnp.array(0.0), jnp.ones((4, 4)))


ON_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, funcopt
from jax.sharding import PartitionSpec as P
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
grads = np.random.default_rng(0).standard_normal((6, 8, 3)).astype(np.float32)

def train(axis, grads, bias):
    tx = funcopt.guard(funcopt.accumulate(funcopt.adam(0.1), 2, axis_name=axis), axis_name=axis)
    params = {"bias": bias[0], "w": 0 * grads[0]}
    def step(carry, grad):
        params, state = carry
        grads = {"bias": jnp.ones(2), "w": grad}
        return funcopt.step(tx, grads, state, params), None
    (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), grads)
    return params, funcopt.metrics(state)

bias = jnp.zeros((1, 2))
alone = jax.jit(lambda g: train(None, g, bias))(grads)
mapped = jax.shard_map(
    lambda g, b: train("d", g, b), mesh=mesh, in_specs=(P(None, "d"), P()),
    out_specs=({"bias": P(), "w": P("d")}, P()),
)
both = jax.tree.map(np.asarray, (alone, jax.jit(mapped)(grads, bias)))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), *both)
assert both[0][1]["noise_scale"] > 0 and both[0][1]["grad_norm"] > 0
"""


def test_shards_measure_what_one_device_does():
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES],
        cwd=Path(__file__).parents[1],
        env=os.environ | devices(4),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
