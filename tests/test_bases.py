"""Rules in bases that follow the gradients of a matrix: what becomes of their slots and steps."""

from __future__ import annotations

import pickle
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt import rules
from funcopt.math.eigenbasis import outer
from funcopt.math.renewal import renewed

RANDOM = np.random.default_rng(7)
PARAMS = {"kernel": jnp.ones((5, 4))}
GRADS = [
    {"kernel": RANDOM.standard_normal((5, 4)) * np.geomspace(0.1, 3, 4)} for _ in range(8)
]  # eight gradients of matrices whose mean squares change
BASES = {
    "qr": rules.Eigenbasis(frequency=2),
    "eigh": rules.Eigenbasis(frequency=3, by="eigh"),
    "one side": rules.Eigenbasis(frequency=2, max_precond_dim=4),
}
each_basis = pytest.mark.parametrize("basis", BASES.values(), ids=BASES)


def walk(*chain: Any, grads: Any = GRADS, rate: float = 0.1) -> list[Any]:
    """The updates of an optimizer of these rules."""
    return updates(funcopt.optimizer(*chain, learning_rate=rate), grads)


def updates(tx: Any, grads: Any = GRADS) -> list[Any]:
    state, found = tx.init(PARAMS), []
    for g in grads:
        u, state = tx.update(jax.tree.map(jnp.float32, g), state, PARAMS)
        found.append(u["kernel"])
    return found


def assert_close(one: Any, other: Any, atol: float = 1e-6) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@each_basis
@pytest.mark.parametrize("name", ["MeanGradient", "Momentum"])
def test_a_linear_rule_is_itself_in_any_basis(basis, name):
    """Its mean turns with the basis: kept as it is, it would be that of other directions."""
    inner = getattr(rules, name)(0.9)
    assert_close(walk(rules.InBasis(inner, basis)), walk(inner))


@pytest.mark.parametrize(
    "inner", [rules.Adam(), rules.Lion(), rules.Adagrad(), rules.Rms(), rules.Adabelief()], ids=repr
)
def test_a_rule_in_the_basis_of_its_parameters_is_itself(inner):
    assert_close(walk(rules.InBasis(inner, rules.Eigenbasis(max_precond_dim=1))), walk(inner))
    turned = walk(rules.InBasis(inner, rules.Eigenbasis()))
    assert np.abs(turned[-1] - walk(inner)[-1]).max() > 1e-3


def test_splus_is_the_sign_in_the_basis_of_soap():
    """Until that is renewed, which the one does by eigenvectors and the other by QR."""
    tx = funcopt.splus(0.1, b2=0.5, ema_rate=None, weight_decay=0.0)
    found = updates(tx)
    sign = rules.InBasis(rules.Signum(0.9), rules.Eigenbasis(beta=0.5))
    assert_close(found, [2 / 9 * u for u in walk(sign)])
    for u in found:
        assert np.linalg.norm(u) == pytest.approx(0.1 * 2 / 9 * 20**0.5, rel=1e-5)


def test_splus_is_evaluated_at_the_mean_of_its_points():
    tx, params = funcopt.splus(0.1, ema_rate=0.5), PARAMS
    state, points = tx.init(params), []
    for g in GRADS:
        params, state = funcopt.step(tx, jax.tree.map(jnp.float32, g), state, params)
        points.append(params["kernel"])
    weights = 0.5 ** np.arange(len(points))[::-1]
    mean = np.average(points, axis=0, weights=weights)
    np.testing.assert_allclose(funcopt.eval_params(tx, state, params)["kernel"], mean, rtol=1e-5)


@each_basis
def test_slots_of_a_rule_in_a_basis_are_named_so(basis):
    tx = funcopt.optimizer(rules.InBasis(rules.Adam(), basis), learning_rate=0.1)
    assert eval(repr(tx), dict(vars(funcopt))) == tx
    state = tx.init(PARAMS)
    assert state.basis_nu["kernel"].shape == (5, 4)
    sides = "left", "right", "left_basis", "right_basis"
    assert state.slots[0]._fields == ("basis_mu", "basis_nu", *sides)
    _, state = tx.update(PARAMS, state, PARAMS)
    again = pickle.loads(pickle.dumps(state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    kept = funcopt.optimizer(*tx.body().chain[:1], learning_rate=0.1, storage="bfloat16")
    assert kept.init(PARAMS).basis_mu["kernel"].dtype == jnp.bfloat16
    assert kept.init(PARAMS).left_basis["kernel"] is None or (
        kept.init(PARAMS).right_basis["kernel"].dtype == jnp.float32
    )


@pytest.mark.parametrize("inner", [rules.MatrixScale(), rules.Decay(0.1)], ids=["matrix", "decay"])
def test_what_is_no_rule_for_a_basis(inner):
    with pytest.raises(TypeError, match="inner must be a rule for elements that looks at gradient"):
        rules.InBasis(inner, rules.Eigenbasis())


def test_galore_of_full_rank_is_its_rule_where_that_is_linear():
    """No gradient has a part outside of all of its singular vectors."""
    inner = rules.MeanGradient(0.9)
    tx = funcopt.galore(0.1, rank=4, base_optimizer=inner)
    assert_close(updates(tx), walk(inner))
    assert updates(tx)[-1].shape == (5, 4)
    less = updates(funcopt.galore(0.1, rank=3, base_optimizer=inner))
    assert np.abs(less[-1] - walk(inner)[-1]).max() > 1e-3
    assert np.linalg.matrix_rank(less[-1], tol=1e-5) == 3


@pytest.mark.parametrize(("side", "shapes"), [("shorter", (5, 4)), ("longer", (4, 5))])
def test_what_galore_remembers(side, shapes):
    """Twice the rank times the side that is not projected, and once the other one."""
    state = funcopt.galore(0.1, rank=2, side=side).init(PARAMS)
    kept, projected = shapes
    assert sum(x.size for x in jax.tree.leaves(state.slots)) == 2 * 2 * kept + 2 * projected
    assert min(state.basis_mu["kernel"].shape) == 2


def test_eigenvectors_of_squares_are_the_singular_vectors():
    by_svd, by_eigh = (
        updates(funcopt.galore(0.1, rank=2, update_proj_gap=3, by=by)) for by in ("svd", "eigh")
    )
    assert_close(by_svd, by_eigh, 1e-4)
    tiny = jax.tree.map(lambda g: 1e-30 * g, GRADS)  # whose squares are none in float32
    exact = {"base_optimizer": rules.Momentum(0.0), "rank": 2}
    for one, other in zip(
        updates(funcopt.galore(1e30, by="eigh", **exact), tiny),
        updates(funcopt.galore(1.0, by="svd", **exact)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)


@pytest.mark.parametrize("rows", [3, 513])
def test_a_matrix_times_itself_is_hermitian(rows):
    x = jnp.asarray(RANDOM.standard_normal((rows, 4, 2)) @ [1, 1j], jnp.complex64)
    found = outer(x)
    np.testing.assert_allclose(found, x @ x.conj().T, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found, found.conj().T, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.soap(0.1, layer_axis=0),
        funcopt.splus(0.1, layer_axis=0),
        funcopt.galore(0.1, 2, layer_axis=0),
        funcopt.shampoo(0.1, layer_axis=0),
    ],
    ids=lambda tx: tx.factory.__name__,
)
@pytest.mark.parametrize("mapped", [False, True])
def test_no_batch_of_decompositions_reaches_a_cpu(tx, mapped):
    """Those of jaxlib wait for the threads that they run on, and two of them for each other."""
    params = jax.ShapeDtypeStruct((7, 3, 6, 5) if mapped else (3, 6, 5), jnp.float32)

    def step(params):
        return tx.update(params, tx.init(params), params)

    text = jax.jit(jax.vmap(step) if mapped else step).lower(params).as_text()
    calls = re.findall(r"@lapack_\w+\(.*?\) .*?: \((tensor<.*?>)", text)
    assert calls
    assert {call.count("x") for call in calls} <= {1, 2}, calls


def doubled_or_less(kept, given):
    numbers, x = given
    assert isinstance(numbers[0], float)
    return kept * numbers[0] + x


def test_what_is_seldom_renewed_is_renewed_when_it_is_due():
    renewals = (doubled_or_less, lambda kept, given: kept - given[1])

    def made(which, kept, x):
        return renewed(which, renewals, kept, ((2.0,), x), kept * 3)

    kept, x = jnp.arange(3.0), jnp.ones(3)
    for which, expected in enumerate((kept, 2 * kept + x, kept - x)):
        new, after = jax.jit(made)(which, kept, x)
        np.testing.assert_array_equal(new, expected)
        np.testing.assert_array_equal(after, 3 * kept)
        slope = jax.grad(lambda x: jnp.sum(made(jnp.int32(which), kept, x)[0]))(x)  # noqa: B023
        np.testing.assert_array_equal(slope, (0, 1, -1)[which] * x)
    each = jax.vmap(made, (0, None, None))(jnp.arange(3), kept, x)[0]
    np.testing.assert_array_equal(each, [kept, 2 * kept + x, kept - x])


def test_what_is_seldom_renewed_is_not_copied_in_the_steps_between():
    """A branch would copy what it returns as it is given, and what is read beside it before."""

    def step(which, kept, x):
        return renewed(which, [lambda kept, x: kept @ x], kept, x, kept @ x)

    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    lowered = jax.jit(step, donate_argnums=1).lower(number, square, square)
    program = str(lowered.compile().as_text())
    entry = program[program.index("\nENTRY") :]
    assert re.findall(r"f32\[64,64\]\S* copy\(", entry) == []
