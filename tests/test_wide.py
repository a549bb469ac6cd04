"""In float64 everything is: no number of a state is kept in less, and none on its way is cast."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.core.paths import path_name
from tests.catalog import ALL, each, each_rule

PARAMS = {"w": np.ones((3, 4)), "b": np.ones(4)}
DRAWN = "kept/halves"  # logarithms of norms that a monitor keeps for its pictures
NARROW = ("bfloat16", "float16", "float32", "complex64")


def narrowed(jaxpr: Any) -> Iterator[str]:
    """What float64 is cast to, where that is less, in nested programs too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            before, after = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
            if before in ("float64", "complex128") and after in NARROW:
                yield after.name
        for value in equation.params.values():
            for each_ in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(each_, "jaxpr", each_)
                if hasattr(inner, "eqns"):
                    yield from narrowed(inner)


@each(ALL)
def test_float64_is_kept(row):
    with jax.enable_x64(True):
        tx = row.make()
        state = jax.eval_shape(tx.init, PARAMS)
        kept = jax.tree_util.tree_leaves_with_path(state)
        update = jax.make_jaxpr(
            lambda grads, state, params: tx.update(
                grads, state, params, **{**row.extra, "value": jnp.float64(1.0)}
            )
        )
        narrow = {path_name(path): x.dtype.name for path, x in kept if x.dtype in NARROW}
        assert narrow.keys() <= {DRAWN}
        assert set(narrowed(update(PARAMS, state, PARAMS).jaxpr)) <= set(narrow.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_rule(ALL)
def test_numbers_that_are_arguments_widen_nothing(row, dtype):
    """Traced, the numbers of a transformation are float64 here, whatever the parameters are."""
    with jax.enable_x64(True):
        tx, params = row.make(), jax.tree.map(lambda x: x.astype(dtype), PARAMS)
        state = jax.eval_shape(tx.init, params)

        def update(tx, grads, state, params):
            told = {**row.extra, "value": jnp.asarray(1.0, dtype)}
            return tx.update(grads, state, params, **told)

        given = jax.eval_shape(update, tx, params, state, params)
        assert given == jax.eval_shape(partial(update, tx), params, state, params)
        assert given[1] == state


def test_a_weakly_typed_parameter_is_as_wide_as_any():
    with jax.enable_x64(True):
        x = jnp.asarray(0.5)
        assert x.weak_type
        tx = funcopt.sgd(0.1)
        moved, _ = funcopt.step(tx, x / 3, tx.init(x), x)
        assert float(moved) == 0.5 - 0.1 * (0.5 / 3)
