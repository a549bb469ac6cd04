"""`sam_gradient`: against a program in PyTorch, NumPy, and the gradient itself."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.golden import HERE

FROZEN = json.loads((HERE / "sam.json").read_text())


def given(name):
    return list(map(jnp.asarray, map(np.array, FROZEN[name])))


def loss(params):
    terms = zip(params, given("slopes"), given("centres"), strict=True)
    return sum(jnp.sum(jnp.abs(a) * (x - c) ** 2) / 2 + jnp.sum(x**4) / 8 for x, a, c in terms)


@pytest.mark.parametrize("name", FROZEN["cases"])
def test_it_is_the_path_of_pytorch_optimizer(name):
    case = FROZEN["cases"][name]
    with jax.enable_x64(True):
        tx, params = funcopt.sgd(0.1, momentum=0.9), given("start")
        measure = funcopt.sam_gradient(
            jax.value_and_grad(loss), case["rho"], adaptive=case["adaptive"]
        )

        @jax.jit
        def step(params, state):
            value, grads = measure(params)
            return *funcopt.step(tx, grads, state, params), value

        state = tx.init(params)
        for theirs in case["path"]:
            before = params
            params, state, value = step(params, state)
            np.testing.assert_allclose(value, loss(before), rtol=1e-14)
            for x, y in zip(params, theirs, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


def test_the_gradient_is_that_of_the_point_uphill():
    """By the paper's box, in NumPy; arguments, and what else a loss tells, go through."""
    scale, start = np.array([1.0, 4.0, -2.0]), np.array([1.0, -3.0, 0.5])

    def told(x, scale, *, power):
        return jnp.sum(scale * x**power), {"sum": jnp.sum(x)}

    measure = jax.value_and_grad(told, has_aux=True)
    with jax.enable_x64(True):
        (value, aux), grads = funcopt.sam_gradient(measure, 0.3)(start, scale, power=4)
    g = 4 * scale * start**3
    there = start + 0.3 * g / np.linalg.norm(g)
    np.testing.assert_allclose(grads, 4 * scale * there**3, rtol=1e-14)
    np.testing.assert_allclose(value, np.sum(scale * start**4), rtol=1e-14)
    assert float(aux["sum"]) == -1.5


@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_way_it_is_the_gradient(adaptive):
    measure, start = jax.value_and_grad(loss), list(map(jnp.float32, given("start")))
    found = funcopt.sam_gradient(measure, 0.0, adaptive=adaptive)(start)
    jax.tree.map(np.testing.assert_array_equal, found, measure(start))


def test_where_the_gradient_is_zero_it_is_zero():
    measure = jax.value_and_grad(lambda x: jnp.sum(x**2))
    _, grads = funcopt.sam_gradient(measure, 0.5)(jnp.zeros(3))
    np.testing.assert_array_equal(grads, 0)


def test_parameters_in_half_precision_and_leaves_without_gradients():
    params = {"w": jnp.array([1.0, 2.0], jnp.bfloat16), "step": None}
    _, grads = funcopt.sam_gradient(
        lambda p: (0.0, {"w": 2 * p["w"], "step": None}), 1.0, adaptive=True
    )(params)
    assert grads["w"].dtype == jnp.bfloat16
    assert grads["step"] is None


@pytest.mark.parametrize(
    ("rho", "words"),
    [(-0.1, "rho must be a finite number >= 0"), ("far", "rho must be a finite number >= 0")],
)
def test_bad_arguments(rho, words):
    with pytest.raises((ValueError, TypeError), match=words):
        funcopt.sam_gradient(jax.value_and_grad(loss), rho)
    with pytest.raises(TypeError, match="value_and_grad"):
        funcopt.sam_gradient(0.5)  # pyright: ignore[reportArgumentType]
