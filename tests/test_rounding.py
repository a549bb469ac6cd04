"""Rounding to bfloat16, and the noise that decides it."""

import jax
import jax.numpy as jnp
import numpy as np

from funcopt.math.rounding import even_noise, hash_noise, rounded_to_bfloat16

COUNT = 1 << 16


def test_noise_is_a_function_of_index_step_and_salt():
    first = np.asarray(hash_noise((64, 1024), 3, 7))
    np.testing.assert_array_equal(first.ravel(), hash_noise((COUNT,), 3, 7))
    np.testing.assert_array_equal(first, jax.jit(hash_noise, static_argnums=0)((64, 1024), 3, 7))
    for other in (hash_noise((64, 1024), 4, 7), hash_noise((64, 1024), 3, 8)):
        same = np.asarray(other) == first
        assert same.mean() < 1e-3
    assert hash_noise((), 1, 0).shape == ()
    assert hash_noise((0, 3), 1, 0).shape == (0, 3)


def test_noise_is_even_and_its_bits_know_nothing_of_each_other():
    draws = np.asarray(hash_noise((COUNT,), 1, 0)).astype(np.float64) / 2**32
    assert abs(draws.mean() - 0.5) < 4 * (1 / 12 / COUNT) ** 0.5
    again = np.asarray(hash_noise((COUNT,), 2, 0)).astype(np.float64) / 2**32
    for other in (again, np.roll(draws, 1), np.roll(draws, 256)):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 4 / COUNT**0.5
    bits = np.asarray(hash_noise((COUNT,), 1, 0))
    for place in range(32):
        assert abs(((bits >> place) & 1).mean() - 0.5) < 4 * 0.5 / COUNT**0.5


def test_to_the_nearest_is_what_numpy_rounds_to():
    x = np.random.default_rng(0).standard_normal(COUNT).astype(np.float32)
    x = np.concatenate([x, np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1 + 2**-8])])
    ours, theirs = rounded_to_bfloat16(jnp.asarray(x)), x.astype(jnp.bfloat16)
    np.testing.assert_array_equal(ours.astype(jnp.float32), theirs.astype(np.float32))


def test_by_chance_it_is_a_neighbour_and_the_mean_is_right():
    for value in (1.0, 1 + 2**-12, 1 - 2**-10, -3.3, 1e-30, 2.0 - 2**-20, 3e38):
        x = jnp.full(COUNT, value, jnp.float32)
        out = np.asarray(rounded_to_bfloat16(x, hash_noise(x.shape, 1, 5)).astype(jnp.float32))
        step = 2.0 ** (np.floor(np.log2(abs(value))) - 7)
        assert np.abs(out - np.float32(value)).max() < step
        assert len(np.unique(out)) <= 2
        mean = out.astype(np.float64).mean()
        assert abs(mean - np.float64(np.float32(value))) <= 4 * step / 2 / COUNT**0.5


def test_by_chance_what_is_exact_and_what_is_no_number_stays():
    kept = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, float(jnp.finfo(jnp.bfloat16).max)]
    x = jnp.asarray(np.tile(np.float32(kept), 512))
    out = rounded_to_bfloat16(x, hash_noise(x.shape, 2, 9))
    np.testing.assert_array_equal(out.astype(jnp.float32), x)
    np.testing.assert_array_equal(np.signbit(out.astype(jnp.float32)), np.signbit(x))
    largest = jnp.full(COUNT, np.finfo(np.float32).max)
    assert jnp.isfinite(rounded_to_bfloat16(largest, hash_noise(largest.shape, 1, 0))).all()
    assert jnp.isnan(rounded_to_bfloat16(jnp.float32(np.nan), jnp.uint32(0)))


def test_even_noise_is_even_over_elements_and_over_steps():
    once = np.asarray(even_noise((COUNT,), 70_000, 3)).astype(np.float64) / 2**32
    assert abs(once.mean() - 0.5) < 4 * (1 / 12 / COUNT) ** 0.5
    steps = jnp.arange(70_000, 71_000)
    draws = np.asarray(jax.vmap(lambda t: even_noise((64,), t, 3))(steps)) / 2**32
    for part in (0.01, 0.3, 0.9):
        counts = (draws < part).sum(0)
        assert np.abs(counts - 1000 * part).max() <= 4
    assert (even_noise((64,), 70_000, 4) != even_noise((64,), 70_000, 3)).mean() > 0.9
