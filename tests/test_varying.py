"""Arrays that differ between devices, as the types in `shard_map` tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from funcopt.math.varying import (
    axes_of,
    norm_across,
    parts,
    sum_across,
    varying_axes,
    varying_like,
)

SHARD, COPY = jnp.arange(4.0), jnp.ones(3)


def in_shard_map(look, check_vma=True):
    """`look(shard, copy)` on a mesh of one device, where types are what they are on many."""
    found = []

    def body(shard, copy):
        found.append(look(shard, copy))
        return shard

    mesh = Mesh(np.array(jax.devices()[:1]), ("d",))
    by_device = PartitionSpec("d")
    mapped = jax.shard_map(
        body, mesh=mesh, in_specs=(by_device, PartitionSpec()), out_specs=by_device,
        check_vma=check_vma,
    )  # fmt: skip
    jax.eval_shape(mapped, SHARD, COPY)
    return found[0]


def test_a_shard_varies_and_a_copy_does_not():
    def look(shard, copy):
        assert varying_axes(shard, copy) == {"d"}
        assert axes_of(shard, ("d",)) == ("d",)
        assert axes_of(copy, "d") == axes_of(shard, None) == ()
        return varying_axes(copy, 1.0, np.ones(2))

    assert in_shard_map(look) == frozenset()


def test_types_that_tell_nothing_count_as_varying():
    def look(shard, copy):
        return varying_axes(shard), axes_of(copy, "d"), varying_axes(varying_like(copy, shard))

    assert in_shard_map(look, check_vma=False) == (frozenset(), ("d",), frozenset())


def test_a_number_is_cast_to_vary_like_another():
    def look(shard, copy):
        assert varying_axes(varying_like(copy, copy)) == frozenset()
        assert varying_axes(varying_like(shard, copy)) == {"d"}
        return varying_axes(varying_like(jnp.zeros([]), copy, shard))

    assert in_shard_map(look) == {"d"}


def test_what_is_taken_over_all_devices_does_not_vary():
    def look(shard, copy):
        whole = sum_across(shard, "d"), norm_across(shard, "d"), sum_across(copy, "d")
        return varying_axes(*whole), parts(copy, "d")

    assert in_shard_map(look) == (frozenset(), 1)


def test_outside_of_a_map_nothing_varies():
    assert varying_axes(SHARD, 1.0) == frozenset()
    assert axes_of(SHARD, None) == ()
    assert varying_like(SHARD, COPY) is SHARD
    assert sum_across(SHARD, None) is SHARD


@pytest.mark.parametrize("norms", [[3.0, 4.0], [3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]])
def test_a_norm_of_parts(norms):
    """Under `vmap` with a name, each row is a device."""
    across = jax.vmap(lambda n: norm_across(n, "d"), axis_name="d")(jnp.array(norms))
    np.testing.assert_allclose(across, np.full(2, np.hypot(*norms)), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_of_parts_that_is_not_finite(bad):
    across = jax.vmap(lambda n: norm_across(n, "d"), axis_name="d")(jnp.array([1.0, bad]))
    np.testing.assert_array_equal(across, np.full(2, bad, np.float32))


def test_a_norm_of_parts_has_a_derivative():
    def norm(x):
        return jax.vmap(lambda n: norm_across(n, "d"), axis_name="d")(x)[0]

    np.testing.assert_allclose(jax.grad(norm)(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(norm)(jnp.zeros(2)), 0)
