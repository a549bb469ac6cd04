"""Numbers that no trajectory shows: reports, rates before the first step, scales that are chosen.

Each was another where `benchmarks.mutants` made a mistake, and no test of a row said so.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.optimizer import lift
from funcopt.optimizers.factored_slots import FactoredSlots, mean_squares
from funcopt.optimizers.longer_side import NormalizeLongerSide
from funcopt.optimizers.matrix_norms import EqualOutputs, PolarNorm
from funcopt.optimizers.matrix_scale import matrix_scale
from funcopt.optimizers.moment_slots import Moments, mean_of_block
from funcopt.optimizers.novograd_direction import mean_element
from funcopt.optimizers.relative_step import relative_step
from funcopt.optimizers.whitening_factor import first_scale
from funcopt.rate_free.loss_model import LossModel
from funcopt.transforms.decay_rules import at_rate, own_and_other
from funcopt.transforms.sam_gradient import ascent


@pytest.mark.parametrize("name", ["dadapt_adagrad", "dadapt_adamw", "prodigy"])
def test_a_rate_before_the_first_update_is_the_estimate_times_the_rate(name):
    tx = getattr(funcopt, name)(0.5, estim_lr0=1e-3)
    state = tx.init(np.ones(2, np.float32))
    assert float(funcopt.current_lr(state)) == pytest.approx(5e-4, rel=1e-6)


def test_the_papers_rate_of_adafactor():
    rates = {0: 0.01, 9_999: 0.01, 39_999: 0.005, 999_999: 0.001}
    for step, rate in rates.items():
        assert float(relative_step(step)) == pytest.approx(rate, rel=1e-6)
    state = funcopt.adafactor().init(np.ones(2, np.float32))
    assert float(funcopt.current_lr(state)) == pytest.approx(0.01)


def test_what_adafactor_reports_of_a_step():
    """The first direction is a sign, whose RMS is 1; half of it is let through."""
    params = np.float32([3.0, 4.0])
    tx = funcopt.adafactor(0.1, clipping_threshold=0.5)
    updates, state = tx.update(np.float32([2.0, -1.0]), tx.init(params), params)
    told = funcopt.metrics(state)
    found = [float(told[name]) for name in ("update_rms", "clip_ratio", "clipped")]
    assert found == pytest.approx([1.0, 0.5, 1.0], rel=1e-6)
    step = 0.1 * 0.5 * 12.5**0.5
    np.testing.assert_allclose(updates, [-step, step], rtol=1e-6)
    within = funcopt.adafactor(0.1, clipping_threshold=2.0)
    _, state = within.update(np.float32([2.0, -1.0]), within.init(params), params)
    assert float(funcopt.metrics(state)["clipped"]) == 0.0


def test_what_stable_adamw_reports_of_a_step():
    """r is about the size of a gradient, relative to what its mean square has seen."""
    params = np.float32([3.0, 4.0])
    tx = funcopt.stable_adamw(0.1)
    state = tx.init(params)
    for size, clipped in ((1.0, None), (0.5, 0.0), (100.0, 1.0)):
        _, state = tx.update(np.float32([size, -size]), state, params)
        r, ratio = float(state.update_rms), float(state.clip_ratio)
        assert ratio == pytest.approx(1 / max(1.0, r), rel=1e-6)
        assert clipped is None or float(state.clipped) == clipped


def test_a_deviation_that_rounding_makes_imaginary_is_none():
    """Of gradients that stay as they are: their variance is 0, or a little beside it."""
    grads = np.geomspace(0.1, 3.0, 50, dtype=np.float32)
    tx = funcopt.scale_by_stddev(0.9, eps=0.0, bias_correction=True)
    state = tx.init(grads)
    for _ in range(5):
        updates, state = tx.update(grads, state)
        assert np.all(np.isfinite(updates))


def test_a_step_of_adafactor_is_no_less_than_its_least_scale():
    params = np.zeros(2, np.float32)
    tx = funcopt.adafactor(0.1, min_scale=0.5)
    updates, _ = tx.update(np.float32([2.0, -1.0]), tx.init(params), params)
    np.testing.assert_allclose(updates, [-0.05, 0.05], rtol=1e-6)


def test_the_distance_that_dowg_reports():
    params, grads = np.float32([3.0, -4.0]), np.float32([30.0, -40.0])
    tx = funcopt.dowg(init_estim_sq_dist=0.25)
    state = tx.init(params)
    assert float(funcopt.metrics(state)["distance"]) == 0.5
    new, state = funcopt.step(tx, grads, state, params)
    _, state = funcopt.step(tx, grads, state, new)
    gone = max(0.5, float(np.linalg.norm(new - params)))
    assert float(funcopt.metrics(state)["distance"]) == pytest.approx(gone, rel=1e-6)


@pytest.mark.parametrize("name", ["dog", "dowg"])
def test_a_sum_that_leaves_its_range_stays_at_the_end_of_it(name):
    """Else no later step would be above 0."""
    params = np.float32([1.0])
    tx = getattr(funcopt, name)(1.0)
    state = tx.init(params)
    _, state = funcopt.step(tx, np.float32([1e25]), state, params)
    sums = "sum_sq_norm_grads" if name == "dog" else "weighted_sq_norm_grads"
    assert np.isfinite(float(getattr(state, sums)))


def test_mean_squares_of_blocks_stand_beside_their_elements():
    mu, nu = jnp.zeros((3, 4, 2)), jnp.arange(1.0, 4.0)
    found = mean_of_block(Moments(mu, nu))
    np.testing.assert_array_equal(found, np.broadcast_to(nu[:, None, None], mu.shape))
    later = jnp.ones((1, 4, 1))
    assert mean_of_block(Moments(mu, later)) is later


def test_mean_squares_of_layers_stand_beside_their_elements():
    mu, nu = jnp.zeros((3, 4, 2)), jnp.arange(1.0, 4.0)
    found = mean_element(Moments(mu, nu))
    np.testing.assert_array_equal(found, np.broadcast_to(nu[:, None, None] / 8, mu.shape))
    later = jnp.ones((1, 4, 1))
    assert mean_element(Moments(mu, later)) is later
    whole = mean_element(Moments(mu, jnp.float32(24.0)))
    np.testing.assert_array_equal(whole, np.ones(mu.shape))


SCALES = {
    "keller": (1.0, math.sqrt(8 / 3)),
    "moonlight": (0.2 * math.sqrt(8), 0.2 * math.sqrt(8)),
    "unit_rms": (math.sqrt(3 / 8), math.sqrt(8 / 3)),
    "spectral": (math.sqrt(8), math.sqrt(8)),
}


@pytest.mark.parametrize("scaling", SCALES)
def test_the_length_of_a_step_of_a_matrix(scaling):
    found = matrix_scale(8, 3, scaling), matrix_scale(3, 8, scaling)
    assert found == pytest.approx(SCALES[scaling], rel=1e-12)


@pytest.mark.parametrize(
    ("scaling", "rate"), [("keller", 0.015), ("unit_rms", 0.015), ("moonlight", 1.0)]
)
def test_the_rate_of_what_is_no_hidden_matrix(scaling, rate):
    """An embedding goes with the biases, whatever its shape."""
    params = {"embed": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
    tx = funcopt.muon(0.1, scaling=scaling)
    updates, _ = tx.update(params, tx.init(params), params)
    for leaf in updates.values():
        np.testing.assert_allclose(leaf, -0.1 * rate, rtol=1e-5)


def test_the_bound_of_momo_is_lowered_where_the_model_with_decay_does_not_reach_it():
    """Between ρ f and (1 + αλ) ρ f, where only the decay tells."""
    model = LossModel(
        alpha=0.5, decay=1.0, rho=1.0, loss=jnp.float32(1.0), gamma=jnp.float32(0.0),
        slope=jnp.float32(0.0), square=jnp.float32(1.0), weighted_slope=jnp.float32(0.0),
        weighted_square=jnp.float32(1.0),
    )  # fmt: skip
    assert float(model._feasible(jnp.float32(1.25), 0.0)) == pytest.approx(0.5)
    assert float(model._feasible(jnp.float32(0.75), 0.0)) == 0.75


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_momo_without_a_parameter_that_decays_has_no_decay(name):
    params = {"a": np.float32([1.0, -2.0]), "b": np.float32([0.5])}
    grads = {"a": np.float32([0.3, 0.1]), "b": np.float32([-0.2])}

    def end(**decay):
        tx, at = getattr(funcopt, name)(0.3, **decay), params
        state = tx.init(at)
        for value in (0.05, 0.04):
            at, state = funcopt.step(tx, grads, state, at, value=value)
        return np.concatenate([at["a"], at["b"]])

    decayed = end(weight_decay=0.5, mask={"a": False, "b": False})
    np.testing.assert_allclose(decayed, end(), rtol=1e-6)


def test_a_centered_variance_of_one_gradient_is_none():
    """Corrected, its mean is the gradient itself."""
    tx = funcopt.rmsprop(0.1, centered=True, bias_correction=True, eps=1.0)
    grads = np.float32([2.0, -3.0])
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates, -0.1 * grads, rtol=1e-5)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_where_rmsprop_adds_its_eps(centered, inside):
    rule = (funcopt.rules.CenteredRms if centered else funcopt.rules.Rms)(
        eps=0.5, eps_in_sqrt=inside
    )
    told = rule.divides_by()
    assert (told.eps, told.eps_root) == ((0.0, 0.5) if inside else (0.5, 0.0))


def test_a_clipped_mechanic_begins_at_its_first_scale():
    tx, params = funcopt.mechanize(funcopt.sgd(1.0), s_init=0.25, variant="clipped"), np.ones(2)
    _, state = tx.update(np.ones(2), tx.init(params), params)
    assert float(jnp.sum(state.s)) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("name", ["galore", "shampoo", "muon", "normuon"])
def test_decay_of_matrices_goes_around_their_rules(name):
    """It is in no basis, and no scale of a step is in it."""
    params = np.ones((3, 4), np.float32)
    tx = getattr(funcopt, name)(0.1, weight_decay=0.5)
    updates, _ = tx.update(np.zeros_like(params), tx.init(params), params)
    np.testing.assert_allclose(updates, -0.05 * params, rtol=1e-6)


def test_a_first_gradient_of_stable_spam_that_is_not_finite():
    """An element that is finite moves, although no gradient has been averaged yet."""
    params = np.ones(2, np.float32)
    tx = funcopt.stable_spam(0.1)
    updates, _ = tx.update(np.float32([np.inf, 1.0]), tx.init(params), params)
    assert float(updates[1]) == pytest.approx(-0.1, rel=1e-3)


def test_mean_squares_of_rows_and_columns():
    squares = jnp.array([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0]])  # of rank 1, which is told exactly
    rows, columns = (jnp.mean(squares, axis, keepdims=True) for axis in (1, 0))
    factored = FactoredSlots(rows, columns, None)
    np.testing.assert_allclose(mean_squares(factored), squares, rtol=1e-6)
    assert mean_squares(FactoredSlots(None, None, squares)) is squares


def test_the_offset_of_a_decay_of_adafactor():
    """Until then the mean is the last square alone; at the start of a training, all of them are."""
    tx = funcopt.scale_by_factored_rms(step_offset=2)
    grads, params = np.float32([4.0]), np.float32([1.0])
    state = tx.init(params)
    for factor in (1.0, 2.0, 3.0):
        updates, state = tx.update(factor * grads, state, params)
        np.testing.assert_allclose(updates, [1.0], rtol=1e-6)


def test_pytorchs_adafactor_bounds_its_root_by_eps():
    tx = funcopt.adafactor(0.1, eps=0.5, variant="pytorch", clipping_threshold=None)
    params = np.float32([1.0, -1.0])
    updates, _ = tx.update(np.float32([0.25, 2.0]), tx.init(params), params)
    np.testing.assert_allclose(updates, [-0.05, -0.1], rtol=1e-5)


@pytest.mark.parametrize(("variant", "rate"), [("sps", -0.25), ("sps+", 0.0)])
def test_polyaks_rate_where_the_loss_is_below_its_least(variant, rate):
    grads = np.float32([2.0])
    tx = funcopt.polyak_sgd(f_min=1.0, variant=variant)
    updates, _ = tx.update(grads, tx.init(grads), grads, value=0.0)
    np.testing.assert_allclose(updates, -rate * grads, rtol=1e-6)


def test_decay_of_soap_is_of_where_its_step_ends():
    """Its first step is skipped, decay and all."""
    params, grads = np.ones((2, 2), np.float32), np.float32([[1.0, 2.0], [0.5, -1.0]])

    def second(weight_decay):
        tx = funcopt.soap(0.1, weight_decay=weight_decay)
        _, state = tx.update(grads, tx.init(params), params)
        return np.asarray(tx.update(grads, state, params)[0])

    step = second(0.0)
    np.testing.assert_allclose(second(0.5), step - 0.05 * (params + step), rtol=1e-5)


@pytest.mark.parametrize("name", ["splus", "kron", "normuon", "nanochat_muon"])
def test_an_embedding_is_no_hidden_matrix_but_where_it_is_said_to_be(name):
    params = {"embed": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
    for hidden in (None, True):
        tx = getattr(funcopt, name)(0.1, hidden=hidden)
        updates, _ = tx.update(params, tx.init(params), params)
        like_a_bias = np.allclose(updates["embed"], np.broadcast_to(updates["bias"], (3, 2)))
        assert like_a_bias is (hidden is None)


def test_cautious_steps_of_few_elements():
    """Are at most a thousand times as long; of complex ones, directions are compared."""
    against = optax.stateless(lambda u, _: jnp.full_like(u, -1.0))
    grads = np.float32([1.0] + [-1.0] * 1999)
    tx = funcopt.cautious(against)
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates[:2], [-1000.0, 0.0], rtol=1e-6)
    turned = funcopt.cautious(optax.stateless(lambda u, _: -u))
    updates, _ = turned.update(np.complex64([1j, 2]), turned.init(grads[:2]), np.complex64([1, 1]))
    np.testing.assert_allclose(updates, [-1j, -2])


def test_the_axes_of_a_mean_and_of_a_unit_that_are_given():
    grads = np.float32([[1.0, 3.0], [10.0, 30.0]])
    tx = funcopt.centralize(axis=1)
    np.testing.assert_allclose(tx.update(grads, tx.init(grads))[0], [[-1, 1], [-10, 10]])
    rule = funcopt.rules.AdaptiveGradClip
    assert rule(0.1, axis=0)._axes((2, 3)) == (0,)
    assert rule(0.1, axis=(-1, 0))._axes((2, 3, 4)) == (0, 2)
    assert rule(0.1, axis=0)._axes(()) is None


def test_what_stable_adamw_says_its_clip_does():
    params = np.ones(2, np.float32)
    tx = funcopt.stable_adamw(0.1, b2=0.5)
    state = tx.init(params)
    for size in (1.0, 1.0, 100.0):
        _, state = tx.update(size * params, state, params)
    assert 0 < float(funcopt.metrics(state)["clip_ratio"]) < 1


def test_the_least_norm_of_a_trust_ratio():
    """It stands for the norm of a parameter, or of its gradient, that is shorter."""
    tx = funcopt.scale_by_trust_ratio(min_norm=2.0)

    def scaled(grads, params):
        grads, params = np.float32(grads), np.float32(params)
        return tx.update(grads, tx.init(params), params)[0]

    np.testing.assert_allclose(scaled([0.0, 0.1], [3.0, 4.0]), [0.0, 0.25], rtol=1e-6)
    np.testing.assert_allclose(scaled([3.0, 4.0], [0.0, 0.1]), [1.2, 1.6], rtol=1e-6)


def test_elements_that_are_no_numbers_are_counted_over_the_run():
    tx, params = funcopt.zero_nans(), {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)}
    nan, state = np.float32(np.nan), tx.init(params)
    for a, b in (([nan, nan], [1.0]), ([1.0, nan], [nan])):
        _, state = tx.update({"a": np.float32(a), "b": np.float32(b)}, state)
    told = funcopt.metrics(state)
    assert (float(told["nans"]), float(told["nan_leaves"])) == (4.0, 2.0)
    _, state = tx.update(params, state)
    told = funcopt.metrics(state)
    assert (float(told["nans"]), float(told["nan_leaves"])) == (4.0, 0.0)


def test_the_way_uphill_of_a_complex_parameter_goes_by_its_length():
    step = ascent({"w": np.complex64([1j])}, {"w": np.complex64([3.0 + 4.0j])}, 0.5, adaptive=True)
    np.testing.assert_allclose(step["w"], [0.5 * 5.0 * 1j], rtol=1e-6)


def test_a_decay_beside_another_rate():
    """It is multiplied as often as the rate is a factor of it."""
    decays = funcopt.decays
    for decay, scaled in ((decays.decoupled(0.2), 0.1), (decays.squared(0.2), 0.05)):
        assert vars(at_rate(decay, 0.5))["weight_decay"] == pytest.approx(scaled)
    for decay, factor in ((0.2, lambda step: 0.5), (lambda step: 0.2, 0.5)):
        scheduled = vars(at_rate(decays.decoupled(decay), factor))["weight_decay"]
        assert float(scheduled(3)) == pytest.approx(0.1)
    assert at_rate(decays.l2(0.2), 0.5) == decays.l2(0.2)


def test_which_part_of_a_decay_is_in_an_algorithm():
    own = funcopt.decays.l2(0.2)
    assert own_and_other(own, type(own)) == (0.2, None)
    assert own_and_other(own) == (0.0, own)
    assert own_and_other(own, int) == (0.0, own)
    assert own_and_other(0.3, type(own)) == (0.3, None)


def test_a_mask_of_schedule_free_sgd_without_decay_changes_nothing():
    params = np.float32([1.0, -2.0])
    updates = []
    for mask in (None, True):
        tx = funcopt.schedule_free_sgd(0.5, mask=mask)
        updates.append(tx.update(0.1 * params, tx.init(params), params)[0])
    np.testing.assert_allclose(*updates, rtol=1e-6)


def test_the_least_eigenvalue_of_kl_shampoo():
    params = np.ones((3, 11), np.float32)
    tx = funcopt.kl_shampoo(0.1, b2=0.0)
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(1e-6 * params, state, params)
    np.testing.assert_allclose(state.left_values, np.full(3, 10.0**-2), rtol=1e-6)
    np.testing.assert_allclose(state.right_values, np.full(11, 11.0**-2), rtol=1e-6)


def test_a_corrected_deviation_after_two_gradients():
    tx = funcopt.scale_by_stddev(0.5, eps=0.0, bias_correction=True)
    state = tx.init(jnp.zeros(1))
    _, state = tx.update(jnp.array([1.0]), state)
    u, _ = tx.update(jnp.array([3.0]), state)
    # means 7/3 and, of squares, 19/3: the variance is 8/9
    np.testing.assert_allclose(u, [3 / np.sqrt(8 / 9)], rtol=1e-5)


def test_a_cautious_decay_of_complex_matrices_goes_by_the_real_part_of_their_product():
    tx = funcopt.optimizer(funcopt.rules.CautiousMatrixDecay(0.5), learning_rate=1.0)
    params = {"kernel": jnp.array([[1 + 1j]])}
    for grad, decays in ((1j, 1), (1 - 3j, 0)):
        u, _ = tx.update({"kernel": jnp.array([[grad]])}, tx.init(params), params)
        np.testing.assert_allclose(u["kernel"], [[-grad - decays * 0.5 * (1 + 1j)]], rtol=1e-6)


def test_the_momentum_of_stable_spam_begins_whole_and_falls():
    grads = np.float32([0.6, -0.8])
    for total_steps, eta_min, part in ((10**6, 0.25, 1.0), (1, 0.25, 0.625), (1, 1.0, 1.0)):
        tx = funcopt.stable_spam(0.1, b1=0.8, total_steps=total_steps, eta_min=eta_min)
        _, state = tx.update(grads, tx.init(grads), grads)
        np.testing.assert_allclose(state.mu, (1 - 0.8 * part) * grads, rtol=1e-5)


@pytest.mark.parametrize(("threshold", "clipped"), [(1.0, 1.0), (1e3, 0.0), (None, 0.0)])
def test_what_came_says_its_clip_does(threshold, clipped):
    grads = np.ones(2, np.float32)
    tx = funcopt.came(0.1, b2=0.999, clipping_threshold=threshold)
    _, state = tx.update(grads, tx.init(grads), grads)
    told = funcopt.metrics(state)
    assert float(told["clipped"]) == clipped
    assert float(told["update_rms"]) == pytest.approx(1e-3**-0.5, rel=1e-4)


def test_a_step_of_shampoo_whose_roots_are_found_has_no_failed_one():
    grads = np.ones((3, 2), np.float32)
    tx = funcopt.shampoo(0.1)
    _, state = tx.update(grads, tx.init(grads), grads)
    assert float(funcopt.metrics(state)["failed_roots"]) == 0.0


def test_the_longer_side_and_its_least_norm():
    rule = NormalizeLongerSide(b2=0.0, eps=1.0)
    assert rule.init(jnp.zeros((5, 2))).side_nu.shape == (5, 1)
    assert rule.init(jnp.zeros((2, 5))).side_nu.shape == (1, 5)
    tx, grads = lift(rule), np.float32([[0.03, 0.0], [0.0, 0.04]])
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates, 0.05 * grads, rtol=1e-5)


@pytest.mark.parametrize(("grads", "damping"), [([[3.0, 0.0, -4.0]], 2.0), ([[0.0]], 1e-12)])
def test_the_first_factors_of_kron_are_by_the_gradient_and_the_damping(grads, damping):
    expected = (np.mean(np.float64(grads) ** 4) + damping**4) ** -0.125
    scale = first_scale(jnp.float32(grads), damping)
    np.testing.assert_allclose(scale, expected, rtol=1e-5)


def test_norms_of_outputs_and_of_a_matrix_have_a_least():
    grads = np.float32([[3.0, 0.03, 0.0], [4.0, 0.04, 0.0]])
    equal, polar = lift(EqualOutputs(eps=0.5)), lift(PolarNorm(eps=10.0))
    updates, _ = equal.update(grads, equal.init(grads))
    target = float(np.linalg.norm(grads)) / 3**0.5
    np.testing.assert_allclose(updates, grads * target / np.array([5.0, 0.5, 0.5]), rtol=1e-5)
    updates, _ = polar.update(grads, polar.init(grads))
    np.testing.assert_allclose(updates, grads * 2**0.5 / 10.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "given", "shape"),
    [("adafactor", {"momentum": 0.5}, (2,)), ("came", {}, (2,)), ("shampoo", {}, (2, 3))],
)
def test_a_skipped_step_leaves_means_as_they_are(name, given, shape):
    params = np.full(shape, 3.0, np.float32)
    tx = funcopt.guard(getattr(funcopt, name)(0.1, **given))
    _, state = tx.update(params, tx.init(params), params)
    _, after = tx.update(np.full(shape, np.nan, np.float32), state, params)
    jax.tree.map(np.testing.assert_array_equal, after.inner, state.inner)
