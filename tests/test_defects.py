"""funcopt shows none of the known defects, and the measurement is able to see them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import catalog
from tests.catalog import each_kind
from tests.defects import (
    FUNCOPT,
    LIBRARY_CHECKS,
    OPTAX,
    RATE,
    ROW_CHECKS,
    finding,
    funcopt_rows,
    measure,
    measure_library,
    optax_rows,
    structure,
)

# Half of the checks run code of optax, which relies on promotion.
pytestmark = pytest.mark.default_promotion

ROWS = dict(funcopt_rows())


@each_kind(catalog.ROWS, where=lambda row: row.name in ROWS)
def test_no_defects(row):
    found = list(measure(FUNCOPT, [(row.name, ROWS[row.name])]))
    # No `b1`, no slots, a rate that may be None: three checks may not apply.
    assert len(found) >= len(ROW_CHECKS) - 3
    assert [one for one in found if not one.ok] == []


def test_no_defects_of_chain_and_clipping():
    found = measure_library(FUNCOPT)
    assert len(found) == len(LIBRARY_CHECKS)
    assert [one for one in found if not one.ok] == []


@each_kind(catalog.ROWS, where=lambda row: row.name in ROWS)
def test_inject_hyperparams_in_float32_is_the_optimizer_itself(row):
    factory = row.factory
    params = {"w": jnp.ones(3, "bfloat16")}
    grads = {"w": jnp.array([0.1, -2.0, 0.0], "bfloat16")}
    plain = factory(RATE)
    static = structure(factory)
    injected = optax.inject_hyperparams(factory, static, hyperparam_dtype=jnp.float32)(RATE)
    states = plain.init(params), injected.init(params)
    for _ in range(2):
        want, first = plain.update(grads, states[0], params)
        have, second = jax.jit(injected.update)(grads, states[1], params)
        states = first, second
        have, want = (np.asarray(x["w"], np.float32) for x in (have, want))
        # Where a step cancels the mean of those before it, its last bits are left.
        cancelled = 2**-20 * np.abs(want).max()
        np.testing.assert_allclose(have, want, rtol=2**-8, atol=cancelled)


KNOWN = {  # of optax 0.2.8: which optimizers fail a check
    "inside optax.inject_hyperparams, bf16 parameters: finite": (
        "adam adamw amsgrad lamb nadam nadamw optimistic_adam_v2"
    ),
    "zero gradient in f16: finite": (
        "adabelief adafactor adam adamax adamaxw adamw adan amsgrad fromage nadam nadamw novograd "
        "optimistic_adam_v2 rmsprop"
    ),
    "zero gradient in f32: finite": "",
    "donating parameters and state": "",
    "f32 parameters, bf16 gradients: state keeps its types": "adan optimistic_gradient_descent",
}


@pytest.mark.skipif(
    optax.__version__ != "0.2.8", reason="what other versions of optax do is not known here"
)
@pytest.mark.parametrize("check", KNOWN)
def test_the_measurement_finds_what_is_there(check):
    found = measure(OPTAX, optax_rows(), [check])
    assert [one.row for one in found if not one.ok] == KNOWN[check].split()


def stateful(update):
    """A transformation whose state is one float32 number."""
    return optax.GradientTransformation(lambda params: jnp.zeros([]), update)


BROKEN = {
    "zero gradient in f32: finite": stateful(
        lambda g, s, p=None: (jax.tree.map(lambda x: x / jnp.abs(x), g), s)
    ),
    "bf16 parameters, f32 gradients: state keeps its types": stateful(
        lambda g, s, p=None: (g, s.astype(jnp.bfloat16))
    ),
    "bf16 parameters, f32 gradients: compiles once": stateful(
        lambda g, s, p=None: (g, s.astype(jnp.bfloat16))
    ),
    "bf16 parameters, f32 gradients: lax.scan accepts": stateful(
        lambda g, s, p=None: (g, s.astype(jnp.bfloat16))
    ),
    "5,000 bf16 steps: slots where float32 has them": optax.GradientTransformation(
        jnp.zeros_like, lambda g, s, p=None: (g, s * 0.999 + g * 0.001)
    ),
    "donating parameters and state": optax.GradientTransformation(
        lambda params: params, lambda g, s, p=None: (g, s)
    ),
    "gradient of another shape: error names the leaf": optax.identity(),
    "learning_rate=None is refused": optax.identity(),
    "learning_rate=-0.001 is refused": optax.identity(),
    "None leaves pass through": stateful(
        lambda g, s, p=None: (
            jax.tree.map(lambda x: 0 * x.sum(), g, is_leaf=lambda x: x is None),
            s,
        )
    ),
    "the rate in force is in the state": optax.identity(),
    "one step count": optax.identity(),
}


@pytest.mark.parametrize("check", BROKEN)
def test_each_check_can_fail(check):
    found = finding(
        "broken", check, lambda: ROW_CHECKS[check](OPTAX, lambda learning_rate: BROKEN[check])
    )
    assert found is not None
    assert not found.ok
