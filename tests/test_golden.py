"""funcopt reproduces every frozen trajectory of PyTorch, Lion's authors and AlgoPerf."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.golden import Frozen, Inputs, load
from tests.runs import deviation

# Relative to the largest magnitude that each element reaches. In float32 both programs round;
# AlgoPerf's takes 1 - 0.999^t in float32, which is 6e-6 off at the first step.
TOLERANCE = {
    ("torch", "float64"): 1e-13,
    ("lion", "float64"): 1e-14,
    ("nadamw", "float64"): 1e-13,
    ("adabelief", "float64"): 1e-13,
    ("torch", "float32"): 1.2e-6,
    ("lion", "float32"): 1.2e-6,
    ("nadamw", "float32"): 3e-5,
    ("adabelief", "float32"): 1.2e-6,
}
CASES = [
    pytest.param(source, case, id=f"{source}-{case.id}")
    for source in ("torch", "lion", "nadamw", "adabelief")
    for case in load(source)
]


def rate_of(case: Frozen) -> Any:
    """The schedule by its name; in float64 its numbers, since schedules are float32."""
    rate = case.kwargs["learning_rate"]
    if isinstance(rate, float):
        return rate
    if case.dtype == "float64":
        return lambda step: jnp.asarray(case.rates)[step]
    return getattr(funcopt, rate["schedule"])(**rate["kwargs"])


def transformation_of(case: Frozen) -> Any:
    rate = rate_of(case)
    hyper = {name: x for name, x in case.kwargs.items() if name != "learning_rate"}
    if case.decoupled_weight_decay:
        return funcopt.chain(
            getattr(funcopt, f"scale_by_{case.factory}")(**hyper),
            funcopt.add_decayed_weights(case.decoupled_weight_decay),
            funcopt.descend(rate),
        )
    tx = getattr(funcopt, case.factory)(rate, **hyper)
    if case.chain_weight_decay:
        return funcopt.chain(funcopt.add_decayed_weights(case.chain_weight_decay), tx)
    return tx


def trajectory(case: Frozen) -> dict[str, np.ndarray]:
    tx = transformation_of(case)
    inputs = Inputs(*jax.tree.map(jnp.asarray, astuple(case.inputs)))

    def body(carry, index):
        params, state = carry
        grads = {leaf: inputs.gradient(index, leaf, p) for leaf, p in params.items()}
        params, state = funcopt.step(tx, grads, state, params)
        return (params, state), params

    @jax.jit
    def loop(params):
        return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(len(case.rates)))[1]

    return jax.tree.map(np.asarray, loop(inputs.p0))


@pytest.mark.parametrize(("source", "case"), CASES)
def test_frozen_trajectory(source, case):
    with jax.enable_x64(case.dtype == "float64"):
        ours = trajectory(case)
    for leaf, theirs in case.path.items():
        assert ours[leaf].dtype == theirs.dtype == case.dtype
        assert np.ptp(theirs, axis=0).max() > 0, "nothing moved"
        found = deviation(ours[leaf], theirs, np.abs(theirs).max(axis=0))
        assert found <= TOLERANCE[source, case.dtype], leaf
