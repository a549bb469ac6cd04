"""Hyperball and relative updates: what they keep, of which parameters, and around what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

RANDOM = np.random.default_rng(6)
START = {"kernel": RANDOM.standard_normal((3, 4)), "bias": RANDOM.standard_normal(4)}
GRADS = [{leaf: RANDOM.standard_normal(x.shape) for leaf, x in START.items()} for _ in range(8)]


def path(tx, start=START, grads=GRADS, dtype="float64"):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, dtype), start)
        state, found = tx.init(params), []
        step = jax.jit(lambda *given: funcopt.step(tx, *given))
        for g in grads:
            params, state = step(jax.tree.map(lambda x: jnp.asarray(x, dtype), g), state, params)
            found.append(jax.tree.map(lambda x: np.asarray(x, np.float64), params))
        return found


def same(ours, others, rtol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, 1e-14), ours, others)


@pytest.mark.parametrize(
    ("dtype", "eps"), [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 8e-3)]
)
@pytest.mark.parametrize(
    "inner", [funcopt.adamw(0.3, weight_decay=0.2), funcopt.lion(0.3), funcopt.adafactor(0.3)]
)
def test_a_matrix_keeps_its_norm(inner, dtype, eps):
    points = path(funcopt.hyperball(inner), dtype=dtype)
    first = np.linalg.norm(START["kernel"].astype(jnp.dtype(dtype)).astype(np.float64))
    for x in points:
        assert np.linalg.norm(x["kernel"]) == pytest.approx(first, rel=eps)


def test_the_rate_is_the_tangent_of_the_angle_of_a_step_across():
    tx = funcopt.hyperball(funcopt.sgd(0.2))
    across = START["kernel"][::-1] - START["kernel"] * (
        np.vdot(START["kernel"][::-1], START["kernel"]) / np.vdot(START["kernel"], START["kernel"])
    )
    [after] = path(tx, grads=[{"kernel": 7 * across, "bias": START["bias"]}])
    a, b = START["kernel"].ravel(), after["kernel"].ravel()
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert np.tan(np.arccos(cosine)) == pytest.approx(0.2, rel=1e-9)


def test_hyperball_is_a_relative_update_and_a_projection():
    radius = float(np.linalg.norm(START["kernel"]))

    def sphere(x):
        return x * (radius / jnp.linalg.norm(x))

    inner = funcopt.adamw(0.1, weight_decay=0.3)
    parts = funcopt.chain(funcopt.relative_updates(inner), funcopt.project(sphere, "kernel"))
    same(path(funcopt.hyperball(inner)), path(parts))


def test_relative_updates_of_adam_are_trust_ratios():
    ratios = funcopt.optimizer(funcopt.rules.Adam(), funcopt.rules.TrustRatio(), learning_rate=0.1)
    kernels = {"kernel": START["kernel"]}, [{"kernel": g["kernel"]} for g in GRADS]
    same(path(funcopt.relative_updates(funcopt.adam(0.1)), *kernels), path(ratios, *kernels))


@pytest.mark.parametrize("wrap", [funcopt.hyperball, funcopt.relative_updates])
def test_stacked_layers_are_as_by_themselves(wrap):
    layers = {"blocks": RANDOM.standard_normal((3, 4, 2))}
    grads = [{"blocks": RANDOM.standard_normal((4, 2, 3)).transpose(2, 0, 1)} for _ in range(5)]
    stacked = path(wrap(funcopt.adam(0.1), layer_axis=0), layers, grads)
    for i in range(3):
        alone = path(
            wrap(funcopt.adam(0.1)), {"blocks": layers["blocks"][i]},
            [{"blocks": g["blocks"][i]} for g in grads],
        )  # fmt: skip
        same([x["blocks"][i] for x in stacked], [x["blocks"] for x in alone])


def test_of_muon_it_is_the_hidden_matrices():
    start = {**START, "embed": RANDOM.standard_normal((5, 4))}
    grads = [{**g, "embed": RANDOM.standard_normal((5, 4))} for g in GRADS]
    inner = funcopt.muon(0.1, weight_decay=0.1)
    ours, plain = path(funcopt.hyperball(inner), start, grads), path(inner, start, grads)
    for x, y in zip(ours, plain, strict=True):
        same({k: x[k] for k in ("bias", "embed")}, {k: y[k] for k in ("bias", "embed")})
        assert np.linalg.norm(x["kernel"]) == pytest.approx(np.linalg.norm(start["kernel"]))


def test_what_a_mask_leaves_out_takes_the_steps_of_the_optimizer():
    start = {**START, "embed": RANDOM.standard_normal((5, 4))}
    grads = [{**g, "embed": RANDOM.standard_normal((5, 4))} for g in GRADS]
    ours = path(funcopt.hyperball(funcopt.adam(0.1), "!embed"), start, grads)
    plain = path(funcopt.adam(0.1), start, grads)
    same([x["embed"] for x in ours], [x["embed"] for x in plain])
    assert np.linalg.norm(ours[-1]["kernel"]) == pytest.approx(np.linalg.norm(start["kernel"]))


def test_a_matrix_that_begins_at_zero_takes_the_steps_of_the_optimizer():
    start = {"kernel": np.zeros((3, 4)), "bias": START["bias"]}
    same(path(funcopt.hyperball(funcopt.adam(0.1)), start), path(funcopt.adam(0.1), start))
    relative = path(funcopt.relative_updates(funcopt.adam(0.1)), start, GRADS[:1])
    same(relative, path(funcopt.adam(0.1), start, GRADS[:1]))


def test_no_gradient_is_no_step_and_a_skipped_one_is_none_either():
    still = {leaf: np.zeros_like(x) for leaf, x in START.items()}
    for point in path(funcopt.hyperball(funcopt.adam(0.1)), grads=[still] * 2):
        same(point, START, 1e-15)
    bad = {leaf: np.full_like(x, np.nan) for leaf, x in START.items()}
    tx = funcopt.guard(funcopt.hyperball(funcopt.adam(0.1)))
    same(path(tx, grads=[bad, *GRADS])[1:], path(funcopt.hyperball(funcopt.adam(0.1))))


def test_the_rate_is_read_and_replaced():
    tx = funcopt.hyperball(funcopt.adam(0.1))
    assert funcopt.with_rate(tx, 0.2) == funcopt.hyperball(funcopt.adam(0.2))
    assert float(funcopt.current_lr(tx.init({"kernel": jnp.ones((2, 2))}))) == pytest.approx(0.1)


@pytest.mark.parametrize("wrap", [funcopt.hyperball, funcopt.relative_updates])
@pytest.mark.parametrize(
    ("inner", "more", "words"),
    [
        (funcopt.guard(funcopt.adam(0.1)), {}, "inner must be an optimizer of funcopt's rules"),
        (funcopt.scale_by_adam(), {}, "with a learning rate, such as adamw"),
        (funcopt.prodigy(), {}, "inner must be an optimizer of funcopt's rules"),
        (funcopt.adam, {}, "inner must be a gradient transformation"),
        (funcopt.lamb(0.1, layer_axis=0), {"layer_axis": 1}, "has layer_axis=0 already"),
        (funcopt.adam(0.1), {"axis_name": 3}, "axis_name must be None|axis_name must be the name"),
    ],
    ids=["wrapper", "no rate", "tree rule", "no call", "layers twice", "axis"],
)
def test_what_is_refused(wrap, inner, more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        wrap(inner, **more)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="'typo' matches no parameter"):
        funcopt.hyperball(funcopt.adam(0.1), "typo").init({"kernel": jnp.ones((2, 2))})
