"""Sophia's extra argument, and what makes it."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import funcopt

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
CURVATURE = {"a": jnp.array([2.0, 3.0]), "b": jnp.array(4.0)}


def test_without_a_bound_it_is_newton():
    """On a quadratic, whose Hessian is told, one step of rate 1 ends at the minimum."""
    tx = funcopt.sophia(1.0, b1=0.0, b2=0.0, weight_decay=0.0, gamma=1.0, clip_threshold=100.0)
    grads = jax.tree.map(lambda h, x: h * (x - 7), CURVATURE, PARAMS)
    params, _ = funcopt.step(tx, grads, tx.init(PARAMS), PARAMS, hessian_diagonal=CURVATURE)
    jax.tree.map(partial(np.testing.assert_allclose, desired=7.0, rtol=1e-6), params)


def test_without_an_estimate_it_is_signum():
    """As the authors' program before its first one."""
    ours, theirs = funcopt.sophia(0.1, b1=0.9, weight_decay=0.0), funcopt.signum(0.1, beta=0.9)
    state, other = ours.init(PARAMS), theirs.init(PARAMS)
    for i in range(3):
        grads = jax.tree.map(lambda x, i=i: x * (i - 0.5), PARAMS)
        first, state = ours.update(grads, state, PARAMS, hessian_diagonal=None)
        second, other = theirs.update(grads, other, PARAMS)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), first, second)


def test_none_keeps_the_mean_curvature():
    tx = funcopt.sophia(0.1)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, hessian_diagonal=CURVATURE)
    _, after = tx.update(PARAMS, state, PARAMS, hessian_diagonal=None)
    jax.tree.map(np.testing.assert_array_equal, after.nu, state.nu)
    assert float(after.nu["b"]) == pytest.approx(0.04, rel=1e-6)


def test_saying_nothing_is_an_error_also_under_jit():
    tx = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sophia(0.1))
    update = jax.jit(lambda state: tx.update(PARAMS, state, PARAMS))
    with pytest.raises(ValueError, match=r"Sophia needs .*hutchinson_diagonal.*hessian_diagonal=N"):
        update(tx.init(PARAMS))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": CURVATURE["a"]}, r"no leaf for the parameters b, but a\."),
        ({**CURVATURE, "a": jnp.ones(3)}, r"of 'a' has shape \(3,\), .* shape \(2,\)"),
        (jnp.ones(2), r"no leaf for the parameters a, b"),
    ],
)
def test_an_estimate_that_does_not_fit_names_the_parameter(given, told):
    tx = funcopt.sophia(0.1)
    with pytest.raises(ValueError, match=told):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, hessian_diagonal=given)


def test_a_complex_estimate_is_refused():
    tx = funcopt.sophia(0.1)
    given = {**CURVATURE, "b": jnp.array(1j)}
    with pytest.raises(TypeError, match="'b' is complex"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, hessian_diagonal=given)


def test_groups_find_their_own_leaves():
    tx = funcopt.partition({"a": funcopt.sophia(0.1)}, otherwise=funcopt.sgd(0.1))
    alone = funcopt.sophia(0.1)
    only = {"a": PARAMS["a"]}
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, hessian_diagonal=CURVATURE)
    told = {"a": CURVATURE["a"]}
    expected, _ = alone.update(only, alone.init(only), only, hessian_diagonal=told)
    np.testing.assert_array_equal(updates["a"], expected["a"])


@pytest.mark.parametrize("last", [True, False])
def test_behind_an_accumulation_the_last_estimate_counts(last):
    tx = funcopt.accumulate(funcopt.sophia(0.1), every=2)
    state = tx.init(PARAMS)
    for given in (None, CURVATURE) if last else (CURVATURE, None):
        _, state = tx.update(PARAMS, state, PARAMS, hessian_diagonal=given)
    nu = optax.tree.get(state, "nu")
    assert bool(np.all(nu["a"])) == last


def test_a_guard_keeps_a_bad_estimate_out():
    tx = funcopt.guard(funcopt.sophia(0.1), check_updates=True)
    bad = {**CURVATURE, "b": jnp.array(jnp.nan)}
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, hessian_diagonal=bad)
    assert bool(state.skipped)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_one_loop_estimates_now_and_then():
    """The whole step is in a `cond`, whose other branch says None."""
    tx = funcopt.sophia(0.05, gamma=0.5, b2=0.5)
    slopes = jnp.array([1.0, 30.0, 0.1])

    def loss(w):
        return jnp.sum(slopes * w**2) / 2

    def body(carry, key):
        w, state = carry
        step = partial(funcopt.step, tx, jax.grad(loss)(w), state, w)
        carry = jax.lax.cond(
            state.count % 5 == 0,
            lambda: step(hessian_diagonal=funcopt.hutchinson_diagonal(loss, w, key)),
            lambda: step(hessian_diagonal=None),
        )
        return carry, loss(carry[0])

    start = jnp.ones(3)
    keys = jax.random.split(jax.random.key(0), 200)
    _, losses = jax.jit(lambda: jax.lax.scan(body, (start, tx.init(start)), keys))()
    assert losses[-1] < 1e-4 * losses[0]


# --- estimates -----------------------------------------------------------------------------------


def coupled(w):
    return jnp.sum(jnp.cosh(w["a"])) * w["b"] ** 2 + w["a"][0] * w["a"][1] ** 3


def test_hutchinson_is_right_on_average():
    exact = {
        "a": jnp.diag(jax.hessian(coupled)(PARAMS)["a"]["a"]),
        "b": jax.hessian(coupled)(PARAMS)["b"]["b"],
    }
    estimate = partial(funcopt.hutchinson_diagonal, coupled, PARAMS, samples=4000)
    many = jax.jit(estimate)(jax.random.key(1))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0.1, atol=0.2), many, exact)


def test_samples_are_averaged():
    keys = jax.random.split(jax.random.key(3), 3)
    alone = [funcopt.hutchinson_diagonal(coupled, PARAMS, key) for key in keys]
    mean = jax.tree.map(lambda *x: sum(x) / 3, *alone)
    together = funcopt.hutchinson_diagonal(coupled, PARAMS, jax.random.key(3), samples=3)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), together, mean)


def test_what_a_leaf_draws_depends_on_its_name():
    def loss(w):
        return jnp.sum(jnp.concatenate([*w.values()])) ** 2

    key = jax.random.key(0)
    some = funcopt.hutchinson_diagonal(loss, {"b": jnp.ones(64)}, key)
    more = funcopt.hutchinson_diagonal(loss, {"a": jnp.ones(64), "b": jnp.ones(64)}, key)
    assert not np.array_equal(more["a"], more["b"])
    assert set(np.sign(some["b"])) <= {-1.0, 0.0, 1.0}


INPUTS = jnp.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 1.0], [5.0, 5.0]])
WEIGHTS = {"w": jnp.array([[0.2, -0.4, 0.1], [0.5, 0.3, -0.2]]), "c": jnp.zeros(3)}


def logits(model, inputs=INPUTS):
    scores = inputs @ model["w"]
    return scores + jnp.broadcast_to(model["c"], scores.shape)


def gauss_newton(inputs):
    """The diagonal of the mean of Jᵀ (diag p − p pᵀ) J over examples."""
    total = jax.tree.map(jnp.zeros_like, WEIGHTS)
    for x in inputs:
        p = jax.nn.softmax(logits(WEIGHTS, x))
        jacobian = jax.jacobian(logits)(WEIGHTS, x)
        inner = jnp.diag(p) - jnp.outer(p, p)
        diagonal = jax.tree.map(
            lambda j, m=inner: jnp.einsum("a...,ab,b...->...", j, m, j), jacobian
        )
        total = jax.tree.map(jnp.add, total, diagonal)
    return jax.tree.map(lambda h: h / len(inputs), total)


@pytest.mark.parametrize("where", [None, jnp.array([True, True, True, False])])
def test_drawn_labels_are_right_on_average(where):
    keys = jax.random.split(jax.random.key(0), 10_000)
    estimate = partial(funcopt.gauss_newton_bartlett_diagonal, logits, WEIGHTS, where=where)
    many = jax.jit(lambda: jax.tree.map(lambda h: h.mean(0), jax.vmap(estimate)(keys)))()
    exact = gauss_newton(INPUTS if where is None else INPUTS[:3])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0.05), many, exact)


def test_nothing_counts_in_an_empty_batch():
    none = jnp.zeros(4, bool)
    found = funcopt.gauss_newton_bartlett_diagonal(logits, WEIGHTS, jax.random.key(0), where=none)
    assert not any(np.any(x) for x in jax.tree.leaves(found))


def part_of_examples(key, inputs):
    return funcopt.gauss_newton_bartlett_diagonal(
        lambda model: logits(model, inputs), WEIGHTS, key, axis_name="data"
    )


def test_examples_that_are_split_over_devices():
    """Each draws its own labels; all come to one estimate, as large as of the whole."""
    parts = jax.vmap(part_of_examples, in_axes=(None, 0), axis_name="data")
    keys = jax.random.split(jax.random.key(0), 10_000)
    many = jax.jit(jax.vmap(parts, in_axes=(0, None)))(keys, INPUTS.reshape(2, 2, 2))
    for x in jax.tree.leaves(many):
        np.testing.assert_array_equal(x[:, 0], x[:, 1])
    mean = jax.tree.map(lambda x: x[:, 0].mean(0), many)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0.06), mean, gauss_newton(INPUTS))


@pytest.mark.parametrize("check_vma", [True, False])
def test_what_a_mesh_estimates_does_not_vary(check_vma):
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    specs = {"in_specs": (P(), P("data")), "out_specs": P(), "check_vma": check_vma}
    found = jax.jit(jax.shard_map(part_of_examples, mesh=mesh, **specs))(jax.random.key(0), INPUTS)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, WEIGHTS)


def test_what_is_no_estimate_is_told():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="samples must be an integer from 1 on, got 0"):
        funcopt.hutchinson_diagonal(coupled, PARAMS, key, samples=0)
    with pytest.raises(TypeError, match="the parameter 'w' has dtype complex64"):
        funcopt.hutchinson_diagonal(lambda w: jnp.abs(w["w"]), {"w": jnp.array(1j)}, key)
    with pytest.raises(ValueError, match=r"where has shape \(2,\), .* shape \(4,\)"):
        funcopt.gauss_newton_bartlett_diagonal(logits, WEIGHTS, key, where=jnp.ones(2, bool))
