"""`where` is `jnp.where`, and numbers in one loop are those that each gives alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcopt.math.choice import where
from funcopt.math.one_loop import in_one_loop, packed, unpacked

FLAGS = [
    jnp.bool_(True),
    jnp.array([True, False, True]),
    np.array([[False], [True]]),
    jnp.array([0.0, jnp.nan, 2.0]),
]
CASES = [
    (jnp.arange(3.0), 0),
    (1.5, jnp.arange(6.0).reshape(2, 3)),
    (jnp.float16(2), jnp.zeros((2, 1), jnp.float16)),
    (jnp.zeros((0, 2, 1)), 1),
    (1, 0),
    (jnp.array([1j, 2, 3]), 1.5),
]


@pytest.mark.parametrize("flag", FLAGS, ids=["scalar", "row", "column", "numbers"])
@pytest.mark.parametrize(("x", "y"), CASES, ids=range(len(CASES)))
def test_a_choice_is_that_of_jax(flag, x, y):
    expected, found = jnp.where(flag, x, y), where(flag, x, y)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)


def test_a_choice_has_the_derivative_and_the_lines_of_jax():
    x = jnp.array([-1.0, 0.0, 2.0])
    flags = jnp.array([True, False])

    def loss(choose):
        return jax.vmap(lambda flag: choose(flag, choose(x > 0, x**2, 3 * x), x).sum())

    for choose in (jnp.where, where):
        assert "select" in str(jax.make_jaxpr(loss(choose))(flags))
    assert "jit" not in str(jax.make_jaxpr(loss(where))(flags))
    derivatives = [
        jax.grad(lambda x, choose=choose: choose(x > 0, x**2, 3 * x).sum())(x)
        for choose in (jnp.where, where)
    ]
    np.testing.assert_array_equal(*derivatives)
    np.testing.assert_array_equal(loss(where)(flags), loss(jnp.where)(flags))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32, jnp.bool_])
def test_a_line_has_its_numbers(dtype):
    numbers = [jnp.asarray(x, dtype) for x in (3, 0, 1, 7, 0)]
    line = jax.jit(packed)(numbers)
    assert line.dtype == dtype
    np.testing.assert_array_equal(line, numbers)
    several = jnp.stack([line, line])
    for whole in (several, np.asarray(several)):
        parts = unpacked(whole)
        np.testing.assert_array_equal(jnp.stack(parts, axis=-1), whole)


def test_reductions_in_one_loop_are_those_of_each():
    x = jnp.array(np.random.default_rng(0).standard_normal((3, 50)), jnp.float32)
    n = (x > 0).astype(jnp.uint32)
    ways, starts = [jax.lax.add, jax.lax.max, jax.lax.min, jax.lax.add], [0, 0, jnp.inf, 0]
    total, most, least, many = in_one_loop([x, jnp.abs(x), x, n], ways, starts)
    np.testing.assert_allclose(total, x.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(most, jnp.abs(x).max(axis=1))
    np.testing.assert_array_equal(least, x.min(axis=1))
    np.testing.assert_array_equal(many, n.sum(axis=1))
