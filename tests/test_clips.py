"""Clips and what stands before an optimizer: against papers, authors' code, and bad inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.math.global_norm import norms_of, square_sums

# -- noise ----------------------------------------------------------------------------------------


def noise(tx):
    return tx.update(jnp.zeros(3), tx.init(jnp.zeros(3)))[0]


def test_seeds_may_be_mapped_over_and_passed():
    tx = funcopt.add_noise(1.0, 0.5, key=jnp.array([1, 2]))
    alone = [noise(funcopt.add_noise(1.0, 0.5, key=seed)) for seed in (1, 2)]
    np.testing.assert_array_equal(jax.vmap(noise, in_axes=(tx.in_axes,))(tx), np.stack(alone))
    np.testing.assert_array_equal(jax.jit(noise)(funcopt.add_noise(1.0, 0.5, key=2)), alone[1])


def test_several_seeds_in_one_run_are_refused():
    with pytest.raises(ValueError, match=r"AddNoise: key has shape \(2,\), but one run takes one"):
        noise(funcopt.add_noise(1.0, 0.5, key=np.array([1, 2])))


# -- spikes ---------------------------------------------------------------------------------------


def test_stable_adamw_recovers_from_a_spike_whose_square_overflows():
    """It goes on as after one that is only just within."""

    def after(spike):
        tx, params = funcopt.stable_adamw(0.01, weight_decay=0.0), jnp.ones(3)

        def step(carry, g):
            return funcopt.step(tx, jnp.full(3, g), carry[1], carry[0]), None

        grads = jnp.array([1.0] * 12 + [spike] + [1.0] * 4)
        return jax.lax.scan(step, (params, tx.init(params)), grads)[0][0]

    np.testing.assert_allclose(after(1e25), after(1e18), rtol=5e-3)


def test_stable_spam_counts_to_the_last_step():
    tx, params = funcopt.stable_spam(0.1, total_steps=2**31 - 1), jnp.ones(3)
    last = jnp.int32(2**31 - 1)
    state = tx.init(params)
    slots = state.slots[0]._replace(entered=last)
    state = state._replace(count=last, slots=(slots, *state.slots[1:]))
    updates, state = tx.update(params, state, params)
    assert np.isfinite(updates).all()
    assert int(state.count) == int(state.entered) == 2**31 - 1


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e25])
def test_norms_of_small_leaves_that_are_summed_together(scale):
    """Of each, and of all, also where one is zero and another's squares leave float32."""
    leaves = [scale * np.full(shape, x, np.float32) for x, shape in enumerate([3, (2, 2), 3, 3, 1])]
    norms, whole = norms_of(square_sums(leaves, each=True), jnp.bool_(True))
    expected = [float(np.linalg.norm(x.astype(float).ravel())) for x in leaves]
    np.testing.assert_allclose(norms, expected, rtol=1e-6)
    np.testing.assert_allclose(whole, np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_allclose(funcopt.global_norm(leaves), np.linalg.norm(expected), rtol=1e-6)
    wide = funcopt.global_norm([*leaves, leaves[0].astype(np.float16)])
    np.testing.assert_allclose(wide, np.linalg.norm(expected), rtol=1e-6)
    large = funcopt.global_norm([*leaves, np.full(5000, scale, np.float32)])
    np.testing.assert_allclose(large, np.hypot(np.linalg.norm(expected), scale * 5000**0.5), 1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1.0, 1e25])
def test_the_norm_of_numbers_and_its_derivative(scale):
    """Whose squares leave float32, of one alone and of two."""
    np.testing.assert_allclose(funcopt.global_norm(np.complex64([scale * 1j])), scale, rtol=1e-6)
    for x in np.float32(scale), np.full(2, scale, np.float32):
        norm, slope = jax.jit(jax.value_and_grad(funcopt.global_norm))(x)
        np.testing.assert_allclose(norm, scale * np.size(x) ** 0.5, rtol=1e-6)
        np.testing.assert_allclose(slope, np.sign(x) / np.size(x) ** 0.5, rtol=1e-6)


def test_the_mean_square_of_an_element_stays_where_its_gradient_is_not_finite():
    tx = funcopt.clip_spikes(4.0, 0.5, grace=0)
    grads = np.float32([1.0, 2.0])
    state = tx.init(grads)
    _, state = tx.update(grads, state)
    _, state = tx.update(np.float32([np.nan, np.inf]), state)
    np.testing.assert_allclose(state.slots[0].nu, [0.5, 2.0])


def test_norms_of_zero_and_infinity_enter_no_percentile():
    tx, params = funcopt.clip_by_percentile(50.0), np.zeros(1, np.float32)
    begun = state = tx.init(params)
    for size in (0.0, np.inf):
        _, state = tx.update(np.float32([size]), state)
    assert float(state.first) == 0.0
    np.testing.assert_array_equal(state.weights, begun.weights)
    _, state = tx.update(np.float32([2.0]), state)
    assert float(funcopt.metrics(state)["clip_threshold"]) == pytest.approx(2.0, rel=1e-5)


def test_norms_far_from_the_first_count_as_the_ends_of_the_percentile():
    tx = funcopt.clip_by_percentile(50.0)
    for size, end in ((1e20, -1), (1e-20, 0)):
        state = tx.init(np.zeros(1, np.float32))
        for norm in (1.0, size):
            _, state = tx.update(np.float32([norm]), state)
        assert (float(state.weights[end]), float(jnp.sum(state.weights))) == (1.0, 2.0)


def test_norms_of_zero_and_infinity_enter_no_mean():
    tx = funcopt.clip_by_ema(1.05, 0.5, 0)
    state = tx.init(np.zeros(1, np.float32))
    for size in (0.0, np.inf, 0.5, 0.0, np.inf, np.nan):
        _, state = tx.update(np.float32([size]), state)
    assert float(state.gamma) == 0.5


# -- reports --------------------------------------------------------------------------------------

GRADS = {"a": np.float32([3.0, -4.0]), "b": np.float32([0.5])}
EMPTY = {**GRADS, "empty": np.zeros((0, 3), np.float32)}
LENGTH = 25.25**0.5


def reported(state):
    told = funcopt.metrics(state)
    return tuple(float(told[name]) for name in ("grad_norm", "clip_ratio", "clipped"))


def report_of(tx, grads):
    return reported(tx.update(grads, tx.init(grads), grads)[1])


REPORTS = [
    ("clip", {"max_delta": 2.0}, (LENGTH, 0.5, 0.5)),
    ("clip_by_norm", {"max_norm": 2.5}, (LENGTH, 0.5, 0.5)),
    ("adaptive_grad_clip", {"clipping": 0.5}, (LENGTH, 0.5, 1.0)),
    ("clip_by_global_norm", {"max_norm": 0.1 * LENGTH}, (LENGTH, 0.1, 1.0)),
    ("clip_by_global_norm", {"max_norm": 10.0}, (LENGTH, 1.0, 0.0)),
    ("clip_by_percentile", {"q": 50.0}, (LENGTH, 1.0, 0.0)),
    ("clip_by_zscore", {"max_norm": 0.1 * LENGTH}, (LENGTH, 0.1, 1.0)),
    ("clip_spikes", {}, (LENGTH, 1.0, 0.0)),
]


@pytest.mark.parametrize(("name", "given", "told"), REPORTS, ids=[name for name, *_ in REPORTS])
def test_what_a_clip_reports(name, given, told):
    """Before the first update that nothing was clipped, then what was."""
    tx = getattr(funcopt, name)(**given)
    assert reported(tx.init(GRADS)) == (0, 1, 0)
    assert report_of(tx, GRADS) == pytest.approx(told, rel=1e-5)


def test_a_leaf_without_elements_is_none_of_those_that_are_clipped():
    assert report_of(funcopt.clip_by_norm(2.5), EMPTY) == pytest.approx((LENGTH, 0.5, 0.5))


def test_real_and_imaginary_parts_are_clipped_apart():
    grads = np.complex64([3.0 - 4.0j])
    assert report_of(funcopt.clip(2.0), grads) == pytest.approx((5.0, 0.5, 1.0))
