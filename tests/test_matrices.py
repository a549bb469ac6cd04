"""What rules for arrays and for matrices may look at, with real matrices and stacks of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.rule import Rule, rule
from funcopt.math.inverse_roots import inverse_root
from funcopt.math.newton_schulz import newton_schulz
from funcopt.math.norm_bound import norm_bound
from funcopt.math.procrustes import turned
from funcopt.optimizers.for_hidden import hidden_matrices
from funcopt.optimizers.orthogonalize import orthogonalize

RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


PARAMS = {"blocks": {"kernel": normal(3, 4, 6), "bias": normal(3, 6)}, "kernel": normal(5, 4)}
GRADS = [jax.tree.map(lambda x: normal(*x.shape), PARAMS) for _ in range(3)]


@rule(acts_on="matrix")
class Leaky(Rule):
    """Looks at one element by itself: no function of a matrix that turns with it."""

    def update(self, grad, slots, param, clock):
        del param, clock
        return jnp.sign(grad), slots


def muon(**changes: Any) -> Any:
    return funcopt.muon(0.1, **{"layer_axis": {"blocks": 0}, **changes})


RELATIVES = {
    "muon": muon,
    "normuon": partial(funcopt.normuon, 0.1, layer_axis={"blocks": 0}),
    "adamuon": partial(funcopt.adamuon, 0.1, layer_axis={"blocks": 0}),
    "polargrad": partial(funcopt.polargrad, 0.1, layer_axis={"blocks": 0}),
    "scion": partial(funcopt.scion, 0.1, layer_axis={"blocks": 0}),
    "soap": partial(funcopt.soap, 0.1, layer_axis={"blocks": 0}),
    "dion2": partial(funcopt.dion2, 0.1, fraction=1.0, layer_axis={"blocks": 0}),
    "nanochat_muon": partial(funcopt.nanochat_muon, 0.1, layer_axis={"blocks": 0}),
    "kron": partial(funcopt.kron, 0.1, layer_axis={"blocks": 0}),
    "shampoo": partial(
        funcopt.shampoo, 0.1, eps=0.1, precondition_frequency=1, layer_axis={"blocks": 0}
    ),
}
each_relative = pytest.mark.parametrize("name", RELATIVES)


def adafactor(**changes: Any) -> Any:
    told = {"min_dim_size_to_factor": 2, "layer_axis": {"blocks": 0}, **changes}
    return funcopt.adafactor(0.1, **told)


def updates(tx: Any, grads: list[Any] = GRADS, params: Any = PARAMS) -> list[Any]:
    state, found = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state, params)
        found.append(u)
    return found


def assert_close(a: Any, b: Any, atol: float = 2e-6) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=atol)


def differs(a: Any, b: Any) -> np.ndarray:
    return np.asarray(a != b)


# -- scope ----------------------------------------------------------------------------------------


def changed(layer: int) -> list[Any]:
    grads = jax.tree.map(np.array, GRADS)
    grads[0]["blocks"]["kernel"][layer] *= -7
    grads[0]["blocks"]["kernel"][layer, 0, 0] += 1
    return grads


@each_relative
def test_a_matrix_does_not_see_the_others_of_its_stack(name):
    """Nor other leaves, bit for bit; and every element of its own sees every gradient of it."""
    tx = RELATIVES[name]()
    one, other = updates(tx)[-1], updates(tx, changed(1))[-1]
    different = differs(one["blocks"]["kernel"], other["blocks"]["kernel"])
    assert different[1].all()
    assert not different[[0, 2]].any()
    assert not differs(one["kernel"], other["kernel"]).any()
    assert not differs(one["blocks"]["bias"], other["blocks"]["bias"]).any()


def test_without_layers_three_axes_are_no_matrix():
    """The law above has its power from `layer_axis`: told otherwise, layers do see each other."""
    together = {"matrices": {"blocks/kernel": ((0, 1), 2)}}
    one = updates(funcopt.muon(0.1, **together))[-1]
    other = updates(funcopt.muon(0.1, **together), changed(1))[-1]
    assert differs(one["blocks"]["kernel"], other["blocks"]["kernel"]).all()


@each_relative
def test_a_stack_is_the_list_of_its_layers(name):
    tx = RELATIVES[name]()
    stacked = updates(tx)[-1]["blocks"]["kernel"]
    for layer in range(3):
        grads = [{"kernel": g["blocks"]["kernel"][layer]} for g in GRADS]
        params = {"kernel": PARAMS["blocks"]["kernel"][layer]}
        alone = updates(RELATIVES[name](layer_axis=None), grads, params)
        assert_close(stacked[layer], alone[-1]["kernel"])


@pytest.mark.parametrize("name", RELATIVES)
def test_a_convolution_is_the_matrix_that_it_is_said_to_be(name):
    params = {"conv": normal(2, 3, 2, 5)}
    grads = [{"conv": normal(2, 3, 2, 5)} for _ in range(2)]
    tx = RELATIVES[name](layer_axis=None, matrices={"conv": ((0, 1, 2), 3)})
    flat = RELATIVES[name](layer_axis=None)
    matrix = partial(jax.tree.map, lambda x: x.reshape(12, 5))
    one = updates(tx, grads, params)[-1]["conv"]
    assert_close(one.reshape(12, 5), updates(flat, matrix(grads), matrix(params))[-1]["conv"])


def orthogonal(n: int) -> np.ndarray:
    return np.linalg.qr(RANDOM.standard_normal((n, n)))[0].astype(np.float32)


LEFT, RIGHT = orthogonal(5), orthogonal(4)


def turns(tx: Any) -> float:
    """How far the update of turned gradients is from the turned update."""
    params = {"kernel": PARAMS["kernel"]}
    grads = [{"kernel": g["kernel"]} for g in GRADS]
    turned = jax.tree.map(lambda g: LEFT @ g @ RIGHT, grads)
    one = updates(tx, grads, params)[-1]["kernel"]
    other = updates(tx, turned, params)[-1]["kernel"]
    return float(np.abs(LEFT @ one @ RIGHT - other).max() / np.abs(one).max())


def test_muon_turns_with_its_gradients():
    assert turns(funcopt.muon(0.1)) < 1e-5
    assert turns(funcopt.optimizer(Leaky(), learning_rate=0.1)) > 0.1


def test_muon_commutes_with_transposition():
    """But for the factor, which is of outputs over inputs."""
    params, grads = PARAMS["kernel"], [g["kernel"] for g in GRADS]
    tx = funcopt.muon(0.1, adjust="match_rms_adamw")
    one = updates(tx, grads, params)[-1]
    assert_close(updates(tx, [g.T for g in grads], params.T)[-1].T, one)
    tx = funcopt.muon(0.1)
    one = updates(tx, grads, params)[-1]
    assert_close(updates(tx, [g.T for g in grads], params.T)[-1].T, one * np.sqrt(5 / 4))


def test_normuon_of_equal_outputs_that_forgets_is_muon():
    """The columns of the gradients are orthogonal and of one length, those of O then too."""
    grads = [size * LEFT[:, :4] for size in (1.0, -0.3, 2.0)]
    params = PARAMS["kernel"]
    one = updates(funcopt.normuon(0.1, b2=0.0), grads, params)
    other = updates(funcopt.muon(0.1), grads, params)
    jax.tree.map(assert_close, one, other)
    uneven = updates(funcopt.normuon(0.1, b2=0.0), [g["kernel"] for g in GRADS], params)
    plain = updates(funcopt.muon(0.1), [g["kernel"] for g in GRADS], params)
    assert np.abs(uneven[-1] - plain[-1]).max() > 1e-3
    norms = np.linalg.norm(uneven[-1], axis=0)
    assert_close(norms, norms[0])
    assert_close(np.linalg.norm(uneven[-1]), np.linalg.norm(plain[-1]))


def test_adamuon_that_forgets_is_a_sign():
    tx = funcopt.adamuon(0.1, b2=0.0, weight_decay=0.0)
    for u in updates(tx, [g["kernel"] for g in GRADS], PARAMS["kernel"]):
        assert_close(np.abs(u), 0.1 * 0.2)


def test_adamuon_looks_at_signs_alone():
    """Its authors' point, which libraries leave out: the sizes of a first gradient do not count."""
    tx, params, grad = funcopt.adamuon(0.1), PARAMS["kernel"], GRADS[0]["kernel"]
    one, other = (updates(tx, [g], params)[0] for g in (grad, grad**3))
    assert_close(one, other)


def test_polargrad_is_muon_times_the_nuclear_norm():
    """The steepest descent in the spectral norm, whose dual norm is that."""
    told: Any = {"ns_coeffs": "deepseek", "ns_steps": 10, "beta": 0.0}
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    polar = updates(funcopt.polargrad(0.1, **told), grads, params)
    plain = updates(funcopt.muon(0.1, **told), grads, params)
    for g, one, other in zip(grads, polar, plain, strict=True):
        nuclear = np.linalg.norm(g, "nuc")
        np.testing.assert_allclose(one, nuclear * other, rtol=2e-3)
    twice = updates(funcopt.polargrad(0.1, **told), [2 * g for g in grads], params)
    np.testing.assert_allclose(twice[-1], 2 * polar[-1], rtol=1e-5)


def test_unconstrained_scion_is_muon_in_its_own_scale():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    one = updates(funcopt.scion(0.1, 0.95, radius=3.0, weight_decay=0.0), grads, params)
    other = updates(funcopt.muon(0.3, nesterov=False, scaling="unit_rms"), grads, params)
    jax.tree.map(assert_close, one, other)


def test_dion2_of_all_rows_is_muon_of_a_sum():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    told: Any = {"ns_coeffs": "keller", "ns_eps": 0.0, "weight_decay": 0.0}
    one = updates(funcopt.dion2(0.1, 1.0, 0.9, **told), grads, params)
    other = updates(
        funcopt.muon(0.1, beta=0.9, eps=0.0, nesterov=False, scaling="unit_rms"), grads, params
    )
    jax.tree.map(partial(assert_close, atol=1e-5), one, other)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_dion2_moves_the_rows_in_which_most_has_gathered(shape):
    """Those of the shorter side; the others wait with all that they have."""
    params = np.zeros(shape, np.float32)
    grad = np.float32(RANDOM.standard_normal(shape))
    short = int(np.argmin(shape))
    sums = np.abs(grad).sum(1 - short)
    tx = funcopt.dion2(0.1, fraction=0.3, ef_decay=0.5, weight_decay=0.0)
    state = tx.init(params)
    u, state = tx.update(grad, state, params)
    moved, largest = np.any(u != 0, axis=1 - short), np.argsort(sums)[-2:]
    np.testing.assert_array_equal(np.flatnonzero(moved), np.sort(largest))
    left = np.where(np.expand_dims(moved, 1 - short), 0.5, 1) * grad
    assert_close(state.trace, left)
    part = np.take(grad, np.sort(largest), short)
    alone = updates(funcopt.dion2(0.1, fraction=1.0, weight_decay=0.0), [part], 0 * part)[0]
    scale = (shape[1] / shape[0]) ** 0.5 / (part.shape[1] / part.shape[0]) ** 0.5
    assert_close(np.take(np.asarray(u), np.sort(largest), short), scale * alone, 1e-5)


def test_nanochats_muon_is_muon_of_a_gradient_with_nothing_to_even_out():
    """Orthogonal columns of one length: equal rows before and after, and a norm that is right."""
    grads, params = [size * LEFT[:, :4] for size in (1.0, -0.3, 2.0)], 0 * PARAMS["kernel"]
    told: Any = {"ns_coeffs": "deepseek", "ns_steps": 10}
    one = updates(funcopt.nanochat_muon(0.1, **told), grads, params)
    normuon = updates(funcopt.nanochat_muon(0.1, b2=0.0, **told), [RIGHT.T], 0 * RIGHT)[0]
    assert_close(normuon, updates(funcopt.muon(0.1, **told), [RIGHT.T], 0 * RIGHT)[0], 1e-4)
    for u in one:
        assert np.linalg.norm(u) == pytest.approx(0.1 * 2, rel=1e-4)
        assert_close(np.linalg.norm(u, axis=1), np.linalg.norm(u, axis=1)[0], 0.1)


@pytest.mark.parametrize("decay", [0.5, funcopt.decays.cautious(0.5)])
def test_the_factor_of_the_shape_is_of_nanochats_decay_too(decay):
    """A number is nanochat's; a decay that is told by its name is what it says."""
    params = jnp.ones((1, 4))
    grads = jnp.array([[1.0, 1.0, -1.0, -1.0]])
    plain = updates(funcopt.nanochat_muon(0.1), [grads], params)[0]
    found = updates(funcopt.nanochat_muon(0.1, weight_decay=decay), [grads], params)[0]
    factor = 2.0 if decay == 0.5 else 1.0
    assert_close(found - plain, -0.1 * 0.5 * factor * np.asarray(grads > 0))


def test_scion_keeps_parameters_in_its_ball():
    tx = funcopt.scion(0.3, radius=2.0, ns_coeffs="deepseek", ns_steps=10)
    params = {"kernel": np.zeros((5, 4), np.float32), "bias": np.zeros(4, np.float32)}
    state = tx.init(params)
    for _ in range(30):
        grads = {"kernel": -np.ones((5, 4), np.float32), "bias": np.ones(4, np.float32)}
        params, state = funcopt.step(tx, grads, state, params)
    edge = 2.0 * np.sqrt(4 / 5)
    assert np.linalg.norm(params["kernel"], 2) == pytest.approx(edge, rel=2e-3)
    assert_close(params["bias"], -2.0, 1e-3)


# -- inverse roots --------------------------------------------------------------------------------

PLAIN: Any = {"b1": 0.0, "b2": None, "graft": "none", "precondition_frequency": 1}


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_an_inverse_root_is_one(kind):
    x = RANDOM.standard_normal((2, 4, 3))
    x = x + 1j * RANDOM.standard_normal(x.shape) if kind == "complex" else x
    square = x @ x.conj().mT
    with jax.enable_x64(True):
        for relative, ridge in ((False, 1.0), (True, np.linalg.norm(square, 2, (1, 2)))):
            root = np.asarray(inverse_root(jnp.asarray(square), 0.5, 0.01, relative))
            damped = square + 0.01 * np.multiply.outer(ridge, np.eye(4))
            assert_close(root @ root @ damped, np.broadcast_to(np.eye(4), (2, 4, 4)), 1e-11)
        nothing = inverse_root(jnp.zeros((4, 4)), 0.5, 0.01, True)
        np.testing.assert_array_equal(nothing, np.eye(4))


@pytest.mark.parametrize("relative", [True, False])
def test_the_derivative_of_an_inverse_root_is_finite_where_eigenvalues_are_equal(relative):
    x = np.diag([2.0, 2.0, 0.0, 5.0])
    along = RANDOM.standard_normal((4, 4))
    along = along @ along.T / np.sum(along**2)  # a quotient of differences is 1e-6 of its size off
    with jax.enable_x64(True):

        def root(s, exponent, eps):
            return inverse_root(jnp.asarray(x) + s * along, exponent, eps, relative)

        for i in range(3):
            at = (0.0, 0.25, 0.1)
            step = 1e-6 * (np.arange(3) == i)
            low, high = (root(*(np.array(at) + sign * step)) for sign in (0 if i == 0 else -1, 1))
            found = jax.jacfwd(root, i)(*at)
            assert_close(found, (high - low) / (1e-6 if i == 0 else 2e-6), 1e-3)


def test_the_first_step_of_shampoo_is_the_orthogonal_factor():
    """Sums of one gradient are squares of its singular values: Muon, where these are led to 1."""
    grad, params = normal(4, 4), np.zeros((4, 4), np.float32)
    one = updates(funcopt.shampoo(0.1, eps=0.0, **PLAIN), [grad], params)[0]
    left, _, right = np.linalg.svd(grad)
    assert_close(one, -0.1 * left @ right, 1e-4)


def test_shampoo_without_exponent_is_the_mean_gradient():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    one = updates(funcopt.shampoo(0.1, exponent=0.0, graft="none"), grads, params)
    adam = updates(funcopt.adam(0.1, b2=0.0, eps=1e9), grads, params)  # its steps over 1e9
    jax.tree.map(lambda a, b: assert_close(a, 1e9 * b, 1e-5), one, adam)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adagrad"])
def test_shampoo_before_it_starts_is_the_simpler_method(name):
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    told: Any = {"b1": 0.0, "graft": name, "graft_b2": 0.9, "graft_eps": 0.0}
    told["start_preconditioning_step"] = 9
    one = updates(funcopt.shampoo(0.1, **told), grads, params)
    same = {
        "adam": funcopt.adam(0.1, 0.0, 0.9, eps=0.0),
        "rmsprop": funcopt.rmsprop(0.1, 0.9, eps=0.0),
        "adagrad": funcopt.adagrad(0.1, initial_accumulator_value=0.0, eps=0.0),
    }[name]
    jax.tree.map(assert_close, one, updates(same, grads, params))


def test_shampoo_has_the_length_of_the_simpler_method():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    early = updates(funcopt.shampoo(0.1), grads, params)
    late = updates(funcopt.shampoo(0.1, precondition_frequency=1), grads, params)
    for one, other in zip(early, late, strict=True):
        assert np.linalg.norm(one) == pytest.approx(float(np.linalg.norm(other)), rel=1e-5)
        assert np.abs(one - other).max() > 1e-3


def test_shampoo_turns_with_its_gradients():
    assert turns(funcopt.shampoo(0.1, eps=0.01, graft="sgd", precondition_frequency=1)) < 1e-4
    assert turns(funcopt.shampoo(0.1, eps=0.01, graft="sgd", block_size=2)) < 1e-5  # no roots yet
    blocks = funcopt.shampoo(0.1, eps=0.01, graft="sgd", block_size=2, precondition_frequency=1)
    assert turns(blocks) > 0.05


def test_blocks_are_matrices_of_their_own():
    """Also those at the edges, which are filled up with zeros."""
    tx = funcopt.shampoo(0.1, block_size=3, precondition_frequency=1, eps=0.1)
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    whole = updates(tx, grads, params)[-1]
    for rows in (slice(0, 3), slice(3, 5)):
        for columns in (slice(0, 3), slice(3, 4)):
            part = [g[rows, columns] for g in grads]
            assert_close(whole[rows, columns], updates(tx, part, params[rows, columns])[-1], 1e-5)
    assert tx.init(params).left.shape == (2, 2, 3, 3)


def test_roots_change_every_few_steps():
    tx, params = funcopt.shampoo(0.1, precondition_frequency=3), PARAMS["kernel"]
    state, changes = tx.init(params), []
    for g in wandering(7):
        old = state.left_root, state.right_root
        _, state = tx.update(g, state, params)
        new = state.left_root, state.right_root
        changes.append({bool(differs(a, b).any()) for a, b in zip(old, new, strict=True)})
    assert changes == [{False}, {False}, {True}, {False}, {False}, {True}, {False}]


def test_a_root_that_cannot_be_computed_is_the_last_that_could():
    """Without `eps` there is none of what has a zero; where there is one again, all is well."""
    tx = funcopt.shampoo(0.1, eps=0.0, relative_eps=False, **{**PLAIN, "b2": 0.5})
    params = jnp.zeros((2, 2))
    state, told = tx.init(params), []
    for g in (jnp.eye(2), jnp.inf * jnp.eye(2)):
        u, state = tx.update(g, state, params)
        told.append(float(funcopt.metrics(state)["failed_roots"]))
    assert told == [0, 2]
    np.testing.assert_allclose(state.left_root[0, 0], np.eye(2), rtol=1e-5)
    singular = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    state, told = tx.init(params), []
    for g in (singular, singular, jnp.eye(2)):
        u, state = tx.update(g, state, params)
        told.append(np.asarray(state.failures).ravel().tolist())
        assert np.isfinite(u).all()
    assert told == [[1, 1], [2, 2], [0, 0]]


def test_the_unit_of_gradients_does_not_matter_to_shampoo():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    tx = funcopt.shampoo(0.1, precondition_frequency=1, graft_eps=0.0)
    one, other = (updates(tx, [scale * g for g in grads], params)[-1] for scale in (1, 2.0**-40))
    assert_close(one, other, 1e-5)


# -- whitening ------------------------------------------------------------------------------------


def whitened(tx, draw, steps=400):
    """The mean squares of rows and of columns of updates of random gradients, in the end."""
    params, state = {"kernel": jnp.zeros((3, 4))}, None
    state, rows, columns = tx.init(params), 0.0, 0.0
    step = jax.jit(tx.update)
    for i in range(steps):
        u, state = step({"kernel": draw()}, state, params)
        u = np.asarray(u["kernel"])
        if i >= steps // 2:
            rows, columns = rows + u @ u.T, columns + u.T @ u
    count = steps - steps // 2
    return rows / count / 4, columns / count / 3


def test_kron_makes_gradients_white():
    """Of rows and of columns that are far from it; and Adam only element by element."""
    random = np.random.default_rng(0)
    left, right = random.standard_normal((3, 3)), random.standard_normal((4, 4))

    def draw():
        return np.float32(0.01 * left @ random.standard_normal((3, 4)) @ right)

    rows, columns = whitened(funcopt.kron(1.0, b1=0.0, max_skew=2, clip_rms=jnp.inf), draw)
    assert_close(rows, np.eye(3), 0.25)
    assert_close(columns, np.eye(4), 0.25)
    rows, _ = whitened(funcopt.adam(1.0, 0.0, 0.99), draw)
    assert np.abs(rows - np.diag(np.diag(rows))).max() > 0.4


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        ({}, ((5,), (4, 4))),
        ({"max_skew": 2}, ((5, 5), (4, 4))),
        ({"max_size": 3}, ((5,), (4,))),
        ({"max_skew": 2, "max_size": 4}, ((5,), (4, 4))),
    ],
)
def test_sides_are_dense_or_diagonal_by_their_size(changes, shapes):
    state = funcopt.kron(0.1, **changes).init(PARAMS["kernel"])
    assert (state.left.shape, state.right.shape) == shapes


def test_kron_that_is_not_fitted_is_the_mean_gradient():
    """Times the square of its scale; until that is cut off."""
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    told: Any = {"preconditioner_lr": 0.0, "init_scale": 0.5, "max_skew": 2}
    found = updates(funcopt.kron(0.1, **told), grads, params)
    for t, u in enumerate(found):  # at first, the mean is of all gradients alike
        assert_close(u, -0.1 * 0.25 * np.mean(grads[: t + 1], 0))
    cut = updates(funcopt.kron(0.1, clip_rms=0.01, **told), grads, params)[0]
    assert np.sqrt(np.mean(np.square(cut))) == pytest.approx(0.1 * 0.01, rel=1e-4)
    assert (
        np.abs(updates(funcopt.kron(0.1, clip_max=0.1, **told), grads, params)[0]).max() <= 0.0101
    )


def test_the_unit_of_gradients_does_not_matter_to_kron():
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    tx = funcopt.kron(0.1, damping=0.0, max_skew=2)
    one, other = (updates(tx, [scale * g for g in grads], params)[-1] for scale in (1, 2.0**-40))
    assert_close(one, other, 1e-5)


def test_factors_of_kron_are_balanced_without_a_change_of_its_steps():
    tx, params = funcopt.kron(0.1, max_skew=2), PARAMS["kernel"]
    state = tx.init(params)
    far = state.left * 8.0, state.right / 8.0
    slots = state.slots[0]._replace(left=far[0], right=far[1])
    states = [s._replace(count=jnp.int32(99)) for s in (state, state._replace(
        slots=(slots, *state.slots[1:])))]  # fmt: skip
    (one, left), (other, right) = (tx.update(GRADS[0]["kernel"], s, params) for s in states)
    assert_close(one, other, 1e-5)
    assert_close(left.left, right.left, 1e-4)
    assert_close(np.abs(right.left).max(), np.abs(right.right).max(), 1e-4)


def test_other_seeds_are_other_probes():
    """Which are felt in the last digits only: norms are nearly exact."""
    grads, params = [g["kernel"] for g in GRADS], PARAMS["kernel"]
    one, other = (
        updates(funcopt.kron(0.1, key=key, max_skew=2), grads, params)[-1] for key in (0, 1)
    )
    assert differs(one, other).any()
    assert_close(one, other, 2e-3)


@pytest.mark.parametrize("kind", ["hermitian", "skew"])
def test_a_bound_of_the_norm_is_near_it(kind):
    x = RANDOM.standard_normal((9, 9))
    x = x @ x.T if kind == "hermitian" else x - x.T
    with jax.enable_x64(True):
        vectors = jnp.asarray(RANDOM.standard_normal((32, 9)))
        found = float(norm_bound(jnp.asarray(x), jnp.max(jnp.abs(x)), vectors))
    norm = float(np.linalg.norm(x, 2))
    assert 0.9 * norm <= found <= norm * (1 + 1e-12)


def test_a_turned_matrix_has_the_same_square_and_becomes_hermitian():
    q = np.linalg.qr(RANDOM.standard_normal((4, 4)))[0] * np.arange(1.0, 5.0)
    q[:, 0] *= np.sign(np.linalg.det(q))  # no rotation leads from one sign to the other
    x, vectors = q, RANDOM.standard_normal((32, 4))
    with jax.enable_x64(True):
        for _ in range(100):
            x = np.asarray(turned(jnp.asarray(x), jnp.asarray(vectors)))
    assert_close(x.T @ x, q.T @ q, 0.02)
    assert np.abs(x - x.T).max() < 0.05 * np.abs(q - q.T).max()


# -- bases ----------------------------------------------------------------------------------------


def wandering(steps: int) -> list[np.ndarray]:
    """Gradients of a matrix whose mean squares change."""
    return [normal(5, 4) * np.geomspace(0.1, 3, 4, dtype=np.float32) for _ in range(steps)]


def test_soap_in_the_basis_of_its_parameters_is_adam():
    """One step late, since the first one only makes the basis, and with eps in another place."""
    grads, params = wandering(6), PARAMS["kernel"]
    soap = funcopt.soap(0.1, eps=0.0, weight_decay=0.0, max_precond_dim=1)
    found = updates(soap, grads, params)
    assert not np.any(found[0])
    adam = updates(funcopt.adam(0.1, 0.95, 0.95, eps=0.0), grads[1:], params)
    jax.tree.map(assert_close, found[1:], adam)
    turned = updates(funcopt.soap(0.1, eps=0.0, weight_decay=0.0), grads, params)
    assert np.abs(turned[-1] - adam[-1]).max() > 0.01


def test_soap_turns_with_its_gradients():
    """Also after bases were renewed: which of them a matrix is told in does not matter."""
    tx = funcopt.soap(0.1, weight_decay=0.0, precondition_frequency=2)
    grads, params = wandering(8), PARAMS["kernel"]
    one = updates(tx, grads, params)[-1]
    other = updates(tx, [LEFT @ g @ RIGHT for g in grads], params)[-1]
    assert_close(LEFT @ one @ RIGHT, other, 1e-4)
    adam = funcopt.soap(0.1, weight_decay=0.0, max_precond_dim=1)
    one, other = (updates(adam, g, params)[-1] for g in (grads, [LEFT @ g @ RIGHT for g in grads]))
    assert np.abs(LEFT @ one @ RIGHT - other).max() > 0.01


def test_bases_change_every_few_steps_and_stay_orthogonal():
    tx, params = funcopt.soap(0.1, precondition_frequency=3), PARAMS["kernel"]
    state, changes = tx.init(params), []
    for g in wandering(8):
        old = state.left_basis, state.right_basis
        _, state = tx.update(g, state, params)
        new = state.left_basis, state.right_basis
        changes.append([bool(differs(a, b).any()) for a, b in zip(old, new, strict=True)])
        for basis in new:
            assert_close(basis.T @ basis, np.eye(len(basis)), 1e-5)
    assert [all(x) for x in changes] == [any(x) for x in changes]
    assert [all(x) for x in changes] == [True, False, False, True, False, False, True, False]


def test_mean_squares_follow_their_eigenvectors():
    """Where two eigenvalues change places, so do the mean squares of their directions."""
    tx, params = funcopt.soap(0.0, 0.5, 0.5, precondition_frequency=1), jnp.zeros((2, 3))
    state = tx.init(params)
    first, then = (
        jnp.eye(2, 3) * jnp.array([[3.0], [1.0]]),
        jnp.eye(2, 3) * jnp.array([[1.0], [9.0]]),
    )
    for g in (first, first, first, then):
        before = state
        _, state = tx.update(g, state, params)
    np.testing.assert_allclose(np.abs(before.left_basis), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(np.abs(state.left_basis), np.eye(2)[::-1], atol=1e-6)
    nu = 0.5 * before.basis_nu + 0.5 * jnp.square(then)
    np.testing.assert_allclose(state.basis_nu[:, :2], nu[::-1, 1::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"precondition_frequency": 0}, ValueError, "precondition_frequency must be an integer"),
        ({"max_precond_dim": 0}, ValueError, "max_precond_dim must be an integer"),
        ({"shampoo_beta": 1.0}, ValueError, "shampoo_beta must be a number in"),
        ({"storage": {"left": "bfloat16"}}, ValueError, "left"),
        ({"storage": {"basis_nu": "bfloat16"}}, ValueError, "accumulates magnitudes"),
    ],
)
def test_bad_arguments_of_soap(changes, error, words):
    with pytest.raises(error, match=words):
        updates(RELATIVES["soap"](**changes))


@pytest.mark.default_promotion
@pytest.mark.parametrize("shape", [(5, 4), (4, 5), (1, 3), (3, 3)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_newton_schulz_leads_to_the_orthogonal_factor(shape, kind):
    x = RANDOM.standard_normal(shape)
    if kind == "complex":
        x = x + 1j * RANDOM.standard_normal(shape)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    with jax.enable_x64(True):
        found = newton_schulz(jnp.asarray(x), [(15 / 8, -10 / 8, 3 / 8)] * 40)
    assert_close(found, left @ right, 1e-12)


@pytest.mark.parametrize(
    ("name", "steps", "small", "large"),
    [
        ("keller", 5, (0.47, 1.20), (0.68, 1.13)),
        ("quintic", 5, (0.48, 1.15), (0.98, 1.03)),
        ("polar_express_1.02", 5, (0.847, 1.14), (0.86, 1.14)),
        ("polar_express_1.01", 5, (0.853, 1.14), (0.86, 1.14)),
        ("polar_express_8", 8, (1.00, 1.00), (1.00, 1.00)),
        ("cans", 5, (0.89, 1.11), (0.88, 1.12)),
        ("deepseek", 10, (1.00, 1.00), (1.00, 1.00)),
    ],
)
def test_what_coefficients_make_of_singular_values(name, steps, small, large):
    """As measured in exact arithmetic, of values from 0.001 to 0.01, and from there to 1."""
    told = orthogonalize(name, steps, 0.0, None)
    for values, bounds in (
        (np.geomspace(1e-3, 1e-2, 9999), small),
        (np.geomspace(1e-2, 1, 9999), large),
    ):
        for a, b, c in told.triples():
            values = a * values + b * values**3 + c * values**5
        assert (values.min(), values.max()) == pytest.approx(bounds, abs=0.006)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_products_in_half_precision_are_of_its_precision(name):
    """Their sums are not: nearer to float32 than a program whose arithmetic is all in half."""
    exact, rounded = updates(muon())[-1], updates(muon(ns_dtype=name))[-1]
    for one, other in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert other.dtype == one.dtype
        assert_close(one, other, 0.1 * float(jnp.finfo(name).eps) ** 0.5)
    assert differs(exact["kernel"], rounded["kernel"]).all()


def test_the_same_scaling_by_its_name_in_pytorch():
    one, other = (updates(muon(**x)) for x in ({"adjust": "original"}, {"scaling": "keller"}))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    one, other = (
        updates(muon(**x)) for x in ({"adjust": "match_rms_adamw"}, {"scaling": "moonlight"})
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


# -- factors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "least", "row", "col"),
    [
        ((4, 3), 3, (4, 1), (1, 3)),
        ((4, 3), 4, None, None),
        ((3, 4), 1, (3, 1), (1, 4)),
        ((5, 2, 4), 4, (5, 2, 1), (1, 2, 4)),
        ((2, 5, 4), 4, (2, 5, 1), (2, 1, 4)),
        ((3, 3, 3), 3, (3, 3, 1), (3, 1, 3)),
        ((5, 1), 1, (5, 1), (1, 1)),
        ((7,), 1, None, None),
        ((), 1, None, None),
        ((0, 4, 4), 4, (0, 4, 1), (0, 1, 4)),
    ],
)
def test_the_two_longest_axes_are_factored(shape, least, row, col):
    tx, params = funcopt.adafactor(min_dim_size_to_factor=least), {"w": jnp.ones(shape)}
    state = tx.init(params)
    v_row, v_col, v = (x["w"] for x in (state.v_row, state.v_col, state.v))
    if row is None:
        assert v.shape == shape
        assert jax.tree.leaves((v_row, v_col)) == []
    else:
        assert (v_row.shape, v_col.shape) == (row, col)
        assert jax.tree.leaves(v) == []
    _, after = tx.update(params, state, params)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_a_factored_layer_does_not_see_the_others():
    """Told of no layers, they have one bound and one scale together."""
    for layers, alone in (({"blocks": 0}, True), (None, False)):
        tx = adafactor(layer_axis=layers, clipping_threshold=0.1)
        one, other = updates(tx)[-1], updates(tx, changed(1))[-1]
        different = differs(one["blocks"]["kernel"], other["blocks"]["kernel"])
        assert different[1].all()
        assert different[[0, 2]].any() != alone


def test_a_factored_moment_is_exact_where_it_is_a_product():
    rows, cols = np.abs(normal(5, 1)), np.abs(normal(1, 4))
    params = {"w": PARAMS["kernel"]}
    factored, whole = (
        funcopt.adafactor(0.1, min_dim_size_to_factor=2, factored=f) for f in (True, False)
    )
    grads = [{"w": size * rows * cols * np.sign(normal(5, 4))} for size in (1, 3, 0.2)]
    for one, other in zip(*(updates(tx, grads, params) for tx in (factored, whole)), strict=True):
        assert_close(one["w"], other["w"])


def test_the_rate_of_the_paper():
    tx, params = funcopt.adafactor(), jnp.ones(3)
    state = tx.init(params)
    for count, rate in ((0, 0.01), (9_999, 0.01), (39_999, 0.005), (999_999, 0.001)):
        _, after = tx.update(params, state._replace(count=jnp.int32(count)), params)
        assert float(funcopt.current_lr(after)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("size", [1e30, 3e38])
def test_a_spike_leaves_finite_factors(size):
    params = {"w": jnp.ones((5, 4))}
    tx = funcopt.adafactor(0.1, min_dim_size_to_factor=2)
    for state in (tx.init(params), tx.init({"w": jnp.ones((40, 30))})):
        params = {"w": jnp.ones((state.v_row["w"].shape[0], state.v_col["w"].shape[1]))}
        for g in (1.0, size, 1.0):
            params, state = funcopt.step(tx, {"w": jnp.full_like(params["w"], g)}, state, params)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((params, state)))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"min_dim_size_to_factor": 0}, ValueError, "min_dim_size_to_factor must be an integer"),
        ({"min_dim_size_to_factor": 2.5}, ValueError, "min_dim_size_to_factor must be an integer"),
        ({"clipping_threshold": -1.0}, ValueError, "clipping_threshold must be a number >= 0"),
        ({"decay_rate": -0.1}, ValueError, "decay_rate must be"),
        ({"decay_offset": -1}, ValueError, "decay_offset must be an integer from 0 on"),
        ({"momentum": 1.0}, ValueError, "momentum must be a number in"),
        ({"dtype_momentum": "int8"}, TypeError, "dtype_momentum must be a floating dtype"),
        ({"factored": 1}, TypeError, "factored must be True or False"),
        ({"mask": "kernle", "weight_decay": 0.1}, ValueError, "kernle"),
        ({"storage": {"v_row": "bfloat16"}}, ValueError, "accumulates magnitudes"),
    ],
)
def test_bad_arguments_of_adafactor(changes, error, words):
    with pytest.raises(error, match=words):
        updates(adafactor(**changes))


# -- which matrices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("blocks/attn/query/kernel", True),
        ("MultiHeadDotProductAttention_0/out/kernel", True),
        ("Embed_0/embedding", False),
        ("pos_embedding", False),
        ("transformer/wte/weight", False),
        ("lm_head/kernel", False),
        ("head_0/kernel", False),
        ("unembed/w", False),
        ("classifier/kernel", False),
        ("logits_dense/kernel", True),
        ("Dense_3/kernel", True),
    ],
)
def test_which_names_are_of_hidden_matrices(path, hidden):
    assert hidden_matrices(path, None) is hidden


@pytest.mark.parametrize("factory", [funcopt.muon, funcopt.scion], ids=lambda f: f.__name__)
def test_embeddings_and_vectors_go_through_the_rules_for_the_rest(factory):
    params = {"embed": normal(5, 4), "kernel": normal(5, 4), "bias": normal(4)}
    state = factory(0.1).init(params)
    assert isinstance(state.trace["kernel"], jax.Array)
    assert isinstance(state.mu["embed"], jax.Array)
    assert jax.tree.leaves([state.trace["embed"], state.trace["bias"], state.mu["kernel"]]) == []
    every = factory(0.1, hidden=True).init(params)
    assert isinstance(every.trace["embed"], jax.Array)


def test_a_vector_and_no_rules_for_it_is_an_error():
    tx = funcopt.optimizer(funcopt.rules.Orthogonalize(), learning_rate=0.1)
    with pytest.raises(
        ValueError, match=r"Orthogonalize acts on matrices.*'blocks/bias'.*\(3,\).*otherwise="
    ):
        tx.init({"blocks": {"bias": jnp.zeros(3)}})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ns_coeffs": 3.0}, TypeError, "ns_coeffs must be three numbers"),
        ({"ns_coeffs": (1.0, 2.0)}, TypeError, "ns_coeffs must be three numbers"),
        ({"ns_steps": 0}, ValueError, "ns_steps must be an integer from 1 on"),
        ({"beta": 1.0}, ValueError, "beta must be a number in"),
        ({"adjust": "rms"}, ValueError, "adjust must be one of original, match_rms_adamw"),
        ({"scaling": "rms"}, ValueError, "scaling must be one of keller, moonlight, unit_rms"),
        ({"adjust": "original", "scaling": "spectral"}, ValueError, "Give one of them"),
        ({"ns_coeffs": "polar_express"}, ValueError, "one of keller, .*polar_express_1.02"),
        ({"ns_coeffs": "deepseek"}, ValueError, "each of 10 steps, and ns_steps is 5"),
        ({"ns_dtype": "int8"}, TypeError, "ns_dtype must be a floating dtype"),
        ({"otherwise_rate": -1.0}, ValueError, "otherwise_rate must be"),
        ({"hidden": "kernle"}, ValueError, "kernle"),
        ({"ns_coeffs": ((1.0, 2.0, 3.0),)}, ValueError, "each of 1 steps, and ns_steps is 5"),
    ],
)
def test_bad_arguments(changes, error, words):
    with pytest.raises(error, match=words):
        updates(funcopt.muon(0.1, **changes))


# -- precision ------------------------------------------------------------------------------------


def every_row(x: str) -> Any:
    return pytest.param(x, marks=pytest.mark.every_row)


@pytest.mark.parametrize("dtype", ["float16", *(every_row(x) for x in ("bfloat16", "float32"))])
def test_zero_gradients_of_matrices_give_zero(dtype):
    """float16 has the shortest range, and the others are cast as it is."""
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), PARAMS)
    zero = jax.tree.map(jnp.zeros_like, params)
    relatives = [make() for make in RELATIVES.values()]
    no_eps = [RELATIVES[name](eps=0.0, ns_eps=0.0) for name in ("normuon", "adamuon", "scion")]
    factored = [adafactor(), adafactor(eps=0.0, momentum=0.9)]
    params = jax.tree.map(jnp.zeros_like, params)  # whose decay is zero, too
    for tx in (muon(eps=0.0), *relatives, *no_eps, *factored):
        for u in updates(tx, [zero, zero], params):
            assert all(x.dtype == dtype and not np.any(x) for x in jax.tree.leaves(u))


# -- the state everywhere -------------------------------------------------------------------------

UNEVEN = {
    "muon": lambda: muon(),
    "normuon": RELATIVES["normuon"],
    "soap": RELATIVES["soap"],
    "adafactor": lambda: adafactor(momentum=0.9),
}
others = pytest.mark.default_promotion


def walked(tx: Any) -> tuple[Any, Any]:
    state, params = tx.init(PARAMS), PARAMS
    for g in GRADS:
        params, state = funcopt.step(tx, g, state, params)
    return params, state


@others
@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_slots_are_serialized(name):
    tx = UNEVEN[name]()
    _, state = walked(tx)
    back = flax.serialization.from_bytes(tx.init(PARAMS), flax.serialization.to_bytes(state))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, back, state)


@others
@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_slots_inside_of_optax(name):
    """masked, MultiSteps and tree_map_params."""
    tx = UNEVEN[name]()
    params, state = walked(tx)
    marked = optax.tree_map_params(tx, lambda x: jnp.full_like(x, 7), state)
    assert all((x == 7).all() for x in jax.tree.leaves(marked.slots))
    assert int(marked.count) == 3
    through, _ = walked(optax.masked(tx, True))
    jax.tree.map(assert_close, through, params)
    twice = optax.MultiSteps(tx, every_k_schedule=2)
    state, found = twice.init(PARAMS), PARAMS
    for g in [x for x in GRADS for _ in range(2)]:
        found, state = funcopt.step(twice, g, state, found)
    jax.tree.map(assert_close, found, params)


@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_slots_meet_other_containers(name):
    """Flax NNX wraps leaves before `init` and not before `update`."""
    tx = UNEVEN[name]()
    wrapped = jax.tree.map(lambda x: {"value": x}, PARAMS)
    u, _ = tx.update(GRADS[0], tx.init(wrapped), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, u, updates(tx)[0])


@pytest.mark.parametrize("name", UNEVEN)
def test_shardings_of_uneven_slots(name):
    """A slot of its parameter's shape lies where that does, every other one on every device."""
    tx = UNEVEN[name]()
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    params = {key: PARAMS[key] for key in ("kernel", "blocks")}
    places = jax.tree.map(lambda _: place, params)
    found = funcopt.state_shardings(tx, params, places)
    state = tx.init(params)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    shapes = {x.shape for x in jax.tree.leaves(params)}
    for x, where in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        assert where == (place if x.shape in shapes else everywhere)
    jax.jit(tx.init, out_shardings=found)(params)
