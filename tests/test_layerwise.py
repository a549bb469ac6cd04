"""Rules that step by norms of whole arrays: what they are where they are something simpler."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

RNG = np.random.default_rng(7)
START = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
GRADS = [{name: RNG.normal(size=x.shape) for name, x in START.items()} for _ in range(8)]


def path(tx: Any, grads: Any = GRADS, start: Any = START) -> dict[str, np.ndarray]:
    """Parameters after each of the steps, in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        state, found = tx.init(params), []
        for g in grads:
            params, state = funcopt.step(tx, jax.tree.map(jnp.asarray, g), state, params)
            found.append(params)
        return jax.tree.map(lambda *x: np.stack(x), *found)


def same(one: Any, other: Any, rtol: float = 1e-12) -> None:
    a, b = path(one), path(other)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol)


def test_lamb_without_trust_ratios_is_adamw():
    settings = {"eps": 1e-6, "weight_decay": 0.1, "mask": "kernel"}
    same(
        funcopt.lamb(0.01, trust_ratio_mask=lambda path, leaf: False, **settings),
        funcopt.adamw(0.01, **settings),
    )


def test_only_what_the_mask_selects_has_a_trust_ratio():
    some = path(funcopt.lamb(0.01, trust_ratio_mask="kernel"))
    all_of_them, none = path(funcopt.lamb(0.01)), path(funcopt.adam(0.01, eps=1e-6))
    np.testing.assert_array_equal(some["kernel"], all_of_them["kernel"])
    np.testing.assert_allclose(some["bias"], none["bias"], rtol=1e-12)
    assert not np.allclose(some["bias"], all_of_them["bias"])


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_rate_of_lamb_is_the_relative_change_of_an_array(size):
    start = {"w": size * np.array([3.0, 4.0, 0.0])}
    end = path(funcopt.lamb(0.1), [{"w": np.array([1.0, 2.0, 3.0])}], start)["w"][-1]
    assert np.linalg.norm((end - start["w"]) / size) == pytest.approx(0.5)


@pytest.mark.parametrize("size", [2e-38, 1e-30, 1e30])
def test_a_trust_ratio_beyond_the_range_of_floats(size):
    """In float32 ‖x‖ / ‖u‖ may overflow where the scaled update does not."""
    tx, params = funcopt.scale_by_trust_ratio(), jnp.array([3e8, 4e8])
    update, _ = tx.update(jnp.array([0.0, size]), tx.init(params), params)
    np.testing.assert_allclose(update, [0.0, 5e8], rtol=1e-6)


def test_where_a_norm_is_zero_the_update_is_left_as_it_is():
    tx = funcopt.scale_by_trust_ratio(trust_coefficient=0.1, eps=3.0)
    zero, some = jnp.zeros(2), jnp.array([1.0, -2.0])
    np.testing.assert_array_equal(tx.update(some, tx.init(zero), zero)[0], some)
    np.testing.assert_array_equal(tx.update(zero, tx.init(some), some)[0], zero)


def test_lars_without_ratios_is_momentum_with_an_l2_penalty():
    same(
        funcopt.lars(0.01, 0.1, "kernel", trust_ratio_mask=False),
        funcopt.chain(funcopt.add_decayed_weights(0.1, "kernel"), funcopt.sgd(0.01, momentum=0.9)),
    )


def test_lars_without_decay_has_one_denominator():
    paper, optax_s = (funcopt.lars(0.1, eps=0.1, variant=v) for v in ("paper", "optax"))
    same(paper, optax_s)


@pytest.mark.parametrize("decaying", ["kernel", "bias", "!kernel|bias", None])
@pytest.mark.parametrize("adapting", ["kernel", "bias", "!kernel|bias", None])
def test_the_two_masks_of_lars_are_apart(decaying, adapting):
    """Each parameter goes as if it were alone, with what the masks say of it."""

    def has(mask: str | None, name: str) -> bool:
        return mask is None or (re.search(mask.removeprefix("!"), name) is None) == (mask[0] == "!")

    found = path(funcopt.lars(0.1, 0.2, decaying, 0.1, trust_ratio_mask=adapting))
    for name in START:
        alone = funcopt.lars(
            0.1, 0.2 * has(decaying, name), None, 0.1, trust_ratio_mask=has(adapting, name)
        )
        grads = [{name: g[name]} for g in GRADS]
        expected = path(alone, grads, {name: START[name]})
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_the_denominators_of_lars():
    """The sum of norms bounds the step; the norm of the sum may be any part of it."""
    x = np.array([3.0, 4.0])
    against = [{"w": -0.1 * x * (1 + 1e-6)}]  # decay leaves a millionth of the gradient
    ends = [
        path(funcopt.lars(1.0, 0.1, trust_coefficient=0.1, variant=v), against, {"w": x})["w"][0]
        for v in ("paper", "optax")
    ]
    paper, optax_s = (np.linalg.norm(end - x) for end in ends)
    assert paper < 1e-6
    assert optax_s == pytest.approx(0.5)


def test_sm3_of_a_vector_is_adagrad():
    one = path(funcopt.sm3(0.1, momentum=0.0))["bias"]
    other = path(funcopt.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-8))["bias"]
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 1, 3, 2), (2, 2, 1, 2, 3), (2,) * 6])
def test_sm3_bounds_adagrad_s_sum_from_above(shape):
    """What an element is divided by is at least the sum of its squares, at most the array's."""
    rng = np.random.default_rng(3)
    grads = [rng.normal(size=shape) for _ in range(5)]
    with jax.enable_x64(True):
        tx, params = funcopt.sm3(0.1), jnp.zeros(shape)
        state = tx.init(params)
        for g in grads:
            _, state = tx.update(jnp.asarray(g), state, params)
    slots = [getattr(state, f"v_{i}") for i in range(min(len(shape), 5))]
    bound = np.minimum.reduce(np.broadcast_arrays(*slots))
    assert np.all(bound >= sum(g**2 for g in grads) * (1 - 1e-12))
    assert np.all(bound <= sum(np.max(g**2) for g in grads) * (1 + 1e-12))


def test_novograd_without_memory_is_a_normalized_gradient():
    tx = funcopt.novograd(0.1, b1=0.0, b2=0.0, eps=0.0)
    found, where = path(tx)["kernel"], START["kernel"]
    for g, x in zip(GRADS, found, strict=True):
        where = where - 0.1 * g["kernel"] / np.linalg.norm(g["kernel"])
        np.testing.assert_allclose(x, where, rtol=1e-12)


def test_fromage_keeps_the_norm_where_the_gradient_is_across():
    start = {"w": np.array([3.0, 4.0])}
    across = [{"w": np.array([-4.0, 3.0])}]
    end = path(funcopt.fromage(0.3), across, start)["w"][-1]
    assert np.linalg.norm(end) == pytest.approx(5.0, rel=1e-12)


def test_the_shrinkage_of_fromage_at_small_rates():
    """1 − 1 / √(1 + η²) is η² / 2, of which float32 would have nothing at η = 1e-4."""
    tx, params = funcopt.fromage(1e-4, min_norm=0.0), jnp.array([3.0, 4.0])
    update, _ = tx.update(jnp.zeros(2), tx.init(params), params)
    np.testing.assert_allclose(update, -params * 0.5e-8, rtol=1e-6)


FACTORED = {"min_dim_size_to_factor": 2, "multiply_by_parameter_scale": False}


def test_adafactor_of_big_vision_at_a_constant_rate_is_the_paper_s():
    settings = {**FACTORED, "momentum": 0.9}
    same(
        funcopt.adafactor(0.1, **settings), funcopt.adafactor(0.1, **settings, variant="big_vision")
    )


def test_adafactor_of_pytorch_without_eps_is_the_paper_s():
    same(*(funcopt.adafactor(0.1, **FACTORED, eps=0.0, variant=v) for v in ("paper", "pytorch")))


def test_adafactor_with_a_bound_of_0_forgets_all_but_the_last_gradient():
    tx = funcopt.adafactor(0.1, **FACTORED, max_decay=0.0, clipping_threshold=None, factored=False)
    steps = np.diff(path(tx)["bias"], axis=0, prepend=START["bias"][None])
    expected = [-0.1 * np.sign(g["bias"]) for g in GRADS]
    np.testing.assert_allclose(steps, expected, rtol=1e-12)


def test_pytorch_factors_the_last_two_axes():
    params = jnp.ones((5, 3, 4))
    found = funcopt.adafactor(0.1, **FACTORED, variant="pytorch").init(params)
    assert (found.v_row.shape, found.v_col.shape) == ((5, 3, 1), (5, 1, 4))


@pytest.mark.parametrize("axes", [{"bias": 0, "kernel": (0, 1)}])
def test_adam_mini_with_an_element_a_block_is_adamw(axes):
    settings = {"weight_decay": 0.1, "mask": "kernel"}
    same(funcopt.adam_mini(0.1, layer_axis=axes, **settings), funcopt.adamw(0.1, **settings))


@pytest.mark.parametrize(("axis", "blocks"), [(-1, 3), (0, 4), (None, 1)])
def test_the_blocks_of_adam_mini(axis, blocks):
    """Steps in a block are in the proportions of its momentum, and those of blocks are not."""
    grads = [{"kernel": g["kernel"] * 2.0 ** np.arange(12).reshape(4, 3)} for g in GRADS[:1]]
    start = {"kernel": START["kernel"]}
    step = path(funcopt.adam_mini(0.1, layer_axis=axis), grads, start)["kernel"][0]
    ratio = (step - start["kernel"]) / grads[0]["kernel"]
    assert len(np.unique(np.round(np.log(-ratio), 6))) == blocks


def test_came_of_vectors_is_a_mean_of_clipped_directions():
    """Without memory and bound it is the sign of the gradient."""
    tx = funcopt.came(0.1, b1=0.0, b2=0.0, clipping_threshold=None)
    steps = np.diff(path(tx)["bias"], axis=0, prepend=START["bias"][None])
    np.testing.assert_allclose(steps, [-0.1 * np.sign(g["bias"]) for g in GRADS], rtol=1e-12)


def test_came_steps_further_where_directions_agree():
    """Two columns with gradients of one size, of which one keeps its sign: ŝ is smaller there."""
    flips = [{"w": np.array([[1.0, (-1.0) ** i], [1.0, (-1.0) ** i]])} for i in range(30)]
    params = path(funcopt.came(0.01, b3=0.9), flips, {"w": np.zeros((2, 2))})["w"]
    mean = path(funcopt.came(0.01, b3=0.9, eps_instability=1e6), flips, {"w": np.zeros((2, 2))})
    alike, turning = np.abs(np.diff(params, axis=0)[-1, 0] / np.diff(mean["w"], axis=0)[-1, 0])
    assert alike > 2 * turning


def test_what_orthograd_leaves_is_orthogonal_and_as_long():
    x, g = (jnp.asarray(a["kernel"], jnp.float32) for a in (START, GRADS[0]))
    tx = funcopt.orthograd()
    u, _ = tx.update(g, tx.init(x), x)
    assert abs(float(jnp.sum(u * x))) < 1e-6 * float(jnp.linalg.norm(u) * jnp.linalg.norm(x))
    np.testing.assert_allclose(jnp.linalg.norm(u), jnp.linalg.norm(g), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_orthograd_of_what_is_parallel_is_zero_at_any_scale(scale):
    x = jnp.asarray(START["kernel"], jnp.float32)
    tx = funcopt.orthograd()
    np.testing.assert_array_equal(tx.update(scale * x, tx.init(x), x)[0], jnp.zeros_like(x))
    zero = jnp.zeros_like(x)
    np.testing.assert_allclose(tx.update(scale * x, tx.init(zero), zero)[0], scale * x, rtol=1e-6)
