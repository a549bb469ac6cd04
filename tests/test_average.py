"""`average`: against sums over all points, PyTorch's program, and in every nesting."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests.golden import HERE
from tests.reference.average import averaged

RANDOM = np.random.default_rng(2)
START = {"a": RANDOM.standard_normal(3), "b": RANDOM.standard_normal((2, 2))}
GRADS = [{leaf: RANDOM.standard_normal(x.shape) for leaf, x in START.items()} for _ in range(17)]
SETTINGS = [
    {"decay": 0.9},
    {"decay": 0.9, "start": 1},
    {"decay": 0.0},
    {"decay": 0.99, "debias": True},
    {"decay": 0.99, "warmup": True},
    {"decay": 0.99, "warmup": True, "debias": True, "start": 3, "every": 2},
    {"kind": "uniform"},
    {"kind": "polynomial"},
    {"kind": "uniform", "start": 4},
    {"kind": "polynomial", "gamma": 2.5, "start": 5, "every": 3},
    {"kind": "window"},
    {"kind": "window", "window": 1},
    {"kind": "window", "window": 3, "start": 2, "every": 3},
    {"kind": "window", "window": 40},
    {"kind": (0.0, 0.5, 0.0, 2.0)},
    {"kind": (1.0, 2.0, 4.0), "start": 3, "every": 2},
]


def run(tx, start=START, grads=GRADS):
    """The parameters and those to evaluate with, after each step."""
    params, found = jax.tree.map(jnp.asarray, start), []
    state = tx.init(params)
    step = jax.jit(lambda *given: funcopt.step(tx, *given))
    for grad in grads:
        params, state = step(jax.tree.map(jnp.asarray, grad), state, params)
        found.append((params, funcopt.eval_params(tx, state, params)))
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_a_weighted_sum_of_all_points(settings):
    with jax.enable_x64(True):
        found = run(funcopt.average(funcopt.sgd(0.1, momentum=0.9), **settings))
    for leaf, first in START.items():
        points = [first, *(np.asarray(params[leaf]) for params, _ in found)]
        for t, (_, shown) in enumerate(found, 1):
            expected = averaged(points[: t + 1], **settings)
            np.testing.assert_allclose(shown[leaf], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "settings", "rtol"),
    [
        ("ema", {"decay": 0.9, "start": 1}, 1e-12),
        ("mean", {"kind": "uniform"}, 1e-8),  # PyTorch takes 1 / (n + 1) in float32
        ("swa", {"kind": "uniform", "start": 5, "every": 3}, 1e-8),
    ],
)
def test_it_is_the_average_of_pytorch(name, settings, rtol):
    frozen = json.loads((HERE / "torch_average.json").read_text())
    with jax.enable_x64(True):
        tx = funcopt.average(funcopt.sgd(0.1), **settings)
        found = run(tx, np.array(frozen["start"]), np.array(frozen["grads"]))
    shown = np.stack([np.asarray(x) for _, x in found])
    theirs = frozen["paths"][name]
    first = len(shown) - len(theirs)  # before its first point, PyTorch has none to show
    np.testing.assert_allclose(shown[first:], theirs, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_training_is_what_it_is_without(dtype):
    start, *grads = (jax.tree.map(lambda x: jnp.asarray(x, dtype), x) for x in (START, *GRADS))
    inner = funcopt.adamw(0.1)
    alone = inner.init(start)
    tx = funcopt.average(inner, 0.99)
    params, state = start, tx.init(start)
    assert state.average["a"].dtype == jnp.float32
    for grad in grads[:3]:
        theirs, alone = inner.update(grad, alone, params)
        updates, state = tx.update(grad, state, params)
        jax.tree.map(np.testing.assert_array_equal, (updates, state.inner), (theirs, alone))
        params = funcopt.apply_updates(params, updates)
    shown = funcopt.eval_params(tx, state, params)
    assert jax.tree.map(lambda x: x.dtype, shown) == jax.tree.map(lambda x: x.dtype, params)


def test_in_bfloat16_it_is_that_of_float32():
    """It moves by parts that bfloat16 rounds away."""
    tx = funcopt.average(funcopt.identity(), 0.999)
    params, still = jnp.full(2, 1.5, jnp.bfloat16), jnp.zeros(2, jnp.bfloat16)
    state = tx.init(params - jnp.ones([], jnp.bfloat16))
    for _ in range(100):
        _, state = tx.update(still, state, params)
    shown = funcopt.eval_params(tx, state, params)
    # The first point is where the training is by then.
    np.testing.assert_array_equal(shown, params)
    np.testing.assert_allclose(state.average, 1.5)


def test_a_skipped_step_adds_no_point():
    tx = funcopt.guard(funcopt.average(funcopt.sgd(0.1), kind="uniform"))
    bad = jax.tree.map(lambda x: x * np.nan, GRADS[0])
    with_bad = [grad for good in GRADS[:5] for grad in (bad, good)]
    clean = run(tx, grads=GRADS[:5])[-1]
    skipping = run(tx, grads=with_bad)[-1]
    jax.tree.map(np.testing.assert_array_equal, skipping, clean)


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: funcopt.chain(funcopt.clip_by_global_norm(1e6), tx),
        lambda tx: optax.chain(optax.clip(1e6), optax.chain(tx)),
        lambda tx: optax.masked(tx, {"a": True, "b": True}),
        lambda tx: optax.MultiSteps(tx, 1),
        lambda tx: funcopt.partition({"": tx}),
        lambda tx: funcopt.accumulate(tx, 1),
        lambda tx: funcopt.loss_scale(tx, init_scale=1.0),
        funcopt.monitor,
    ],
)
def test_every_nesting(wrap):
    tx = funcopt.average(funcopt.sgd(0.1), 0.5)
    (params, shown), (_, expected) = (
        run(wrap(tx), grads=GRADS[:3])[-1],
        run(tx, grads=GRADS[:3])[-1],
    )
    assert not np.allclose(shown["a"], params["a"])
    for leaf in expected:
        np.testing.assert_allclose(shown[leaf], expected[leaf], rtol=1e-6)


def test_a_change_of_parameters_after_the_update_is_seen():
    """A projection, say: what enters is what the parameters are when the next update begins."""
    tx, params = funcopt.average(funcopt.sgd(1.0), kind="uniform"), jnp.array([4.0])
    state, points = tx.init(params), []
    for _ in range(3):
        params, state = funcopt.step(tx, jnp.ones(1), state, params)
        params = jnp.minimum(params, 1.0)
        points.append(params)
    shown = funcopt.eval_params(tx, state, params)
    np.testing.assert_allclose(shown, np.mean(points), rtol=1e-6)


@pytest.mark.default_promotion  # of optax
def test_without_what_it_began_with_it_is_the_mean_of_optax():
    with jax.enable_x64(True):
        found = run(funcopt.average(funcopt.sgd(0.1), 0.9, debias=True))
        mean = optax.ema(0.9, debias=True)
        state = mean.init(found[0][0])
        for params, shown in found:
            theirs, state = mean.update(params, state)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), shown, theirs)


def test_kinds_that_mean_the_same():
    """A window that is never full is the mean; one weight, or no decay, is the point itself."""

    def shown(**settings):
        return run(funcopt.average(funcopt.sgd(0.1), **settings))

    for settings, same in [
        ({"kind": "window", "window": 17}, {"kind": "uniform"}),
        ({"kind": "polynomial", "gamma": 0.0}, {"kind": "uniform"}),
        ({"kind": (2.0, 2.0, 2.0)}, {"kind": "window", "window": 3}),
        ({"kind": (0.0, 7.0)}, {"decay": 0.0}),
        ({}, {"kind": "ema", "decay": 0.999}),
    ]:
        pairs = zip(shown(**settings), shown(**same), strict=True)
        for (_, ours), (_, others) in pairs:
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), ours, others
            )


def test_the_rate_is_that_of_the_optimizer():
    tx = funcopt.average(funcopt.sgd(funcopt.linear_schedule(1.0, 0.0, 4)), 0.9)
    assert float(funcopt.current_lr(tx.init(jnp.ones(1)))) == 1.0
    assert funcopt.with_rate(tx, 0.5) == funcopt.average(funcopt.sgd(0.5), 0.9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"decay": 0.9, "kind": "uniform"}, "decay, debias and warmup are of kind='ema', got"),
        ({"gamma": 1.0}, "gamma is of kind='polynomial', got kind='ema'. Leave it out"),
        ({"kind": "uniform", "debias": True}, "give kind='ema'"),
        ({"kind": (1.0, 2.0), "window": 2}, "window is of kind='window'"),
        ({"kind": "mean"}, "kind must be one of ema, uniform, polynomial, window, got 'mean'"),
        ({"kind": (1.0, 0.0)}, r"kind\[1\] must be a finite number > 0"),
        ({"kind": (-1.0, 1.0)}, r"kind\[0\] must be a finite number >= 0"),
        ({"kind": "window", "window": 0}, "window must be an integer from 1"),
        ({"decay": 1.0}, r"decay must be a number in \[0, 1\)"),
        ({"decay": 0.9, "every": 0}, "every must be an integer from 1 on"),
        ({"decay": 0.9, "storage": {"average": "bfloat16"}}, "Keep it in float32"),
        ({"decay": 0.9, "storage": {"mu": "bfloat16"}}, "only average"),
    ],
    ids=str,
)
def test_bad_arguments(given, words):
    with pytest.raises(ValueError, match=words):
        funcopt.average(funcopt.sgd(0.1), **given)
