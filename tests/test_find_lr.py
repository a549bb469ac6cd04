"""The range test: what it reads from curves that are made up, and that its scan is plain training.

Each made-up curve falls from 3 to 1 around a known rate and rises steeply after another.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.lab import find_lr, get_task
from funcopt.lab.range_test.range_test import CONVENTIONS, read

RATES = np.geomspace(1e-7, 10, 200)
FALL, RISE = 1e-3, 1e-1


def curve(noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A loss that falls by two around `FALL`, and grows tenfold a decade above `RISE`."""
    x = np.log10(RATES)
    falling = 3 - 2 / (1 + np.exp(-4 * (x - np.log10(FALL))))
    rising = np.maximum(0, 10 ** (2 * (x - np.log10(RISE))) - 1)
    return falling + rising + noise * np.random.default_rng(seed).standard_normal(len(x))


def answers(losses, **options):
    return read(RATES, np.atleast_2d(losses), **options)


def test_every_convention_reads_a_clean_curve():
    found = answers(curve(), smooth=0.0)
    assert found.reason == ""
    assert found.by_convention["steepest"] == pytest.approx(FALL, rel=0.2)
    smallest = RATES[np.argmin(curve())]
    assert found.by_convention["minimum/10"] == pytest.approx(smallest / 10, rel=0.2)
    for rate in found.by_convention.values():
        assert FALL / 100 < rate < RISE
    assert found.constant == pytest.approx(found.suggestion / 2.7)
    assert f"{found.constant:.2g} for a constant rate" in found.headline()
    first, last = 20, int(np.argmin(curve()))
    assert found.by_convention["valley"] == pytest.approx(RATES[(first + last) // 2], rel=0.2)


def test_divergence_is_where_the_loss_leaves_for_good():
    found = answers(curve(), smooth=0.0)
    expected = int(np.flatnonzero(curve() > 4 * curve().min())[0])
    assert abs(found.diverged_at[0] - expected) <= 1
    assert np.isnan(found.smoothed[0, found.diverged_at[0] :]).all()
    assert np.isfinite(found.smoothed[0, 2 : found.diverged_at[0]]).all()


def test_smoothing_is_a_mean_with_bias_correction():
    losses = curve()[:80]
    levels = losses[1:-1]  # a curve that falls is the median of its neighbours
    expected, average = [], 0.0
    for t, level in enumerate(levels, start=1):
        average = 0.9 * average + 0.1 * level
        expected.append(average / (1 - 0.9**t))
    found = read(RATES[:80], losses[None], smooth=0.9)
    np.testing.assert_allclose(found.smoothed[0, 2:], expected, rtol=1e-5)


@pytest.mark.parametrize("place", [0, 1, 2, 5, 30, 60, 100])
@pytest.mark.parametrize("height", [1e6, math.inf, math.nan])
def test_a_spike_changes_nothing(place, height):
    spiked = curve()
    spiked[place] = height
    clean, found = answers(curve()), answers(spiked)
    assert found.reason == ""
    assert abs(found.diverged_at[0] - clean.diverged_at[0]) <= 1
    for name, rate in found.by_convention.items():
        assert rate == pytest.approx(clean.by_convention[name], rel=0.25), name


def test_noise_moves_the_answer_little():
    clean = answers(curve())
    noisy = answers([curve(0.1, seed) for seed in range(5)])
    for name in ("steepest", "minimum/10"):
        apart = math.log10(noisy.by_convention[name] / clean.by_convention[name])
        assert abs(apart) < 0.5, name


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_a_flat_curve_is_refused(noise, seed):
    flat = 2.3 + noise * np.random.default_rng(seed).standard_normal(len(RATES))
    found = answers(flat)
    assert (found.suggestion, found.constant) == (None, None)
    assert found.reason == "the loss does not fall anywhere between the rates 1e-07 and 10"
    assert math.isnan(found.disagreement)
    assert found.headline().startswith("No suggestion: the loss does not fall")


def test_a_curve_that_only_rises_is_refused():
    found = answers(1 + 10 ** (np.log10(RATES) + 4))
    assert found.suggestion is None
    assert "does not fall" in found.reason
    assert "where it diverges" in found.reason


def test_a_curve_that_has_diverged_already_is_refused():
    found = answers(np.exp(np.arange(len(RATES))))
    assert found.suggestion is None
    assert "has diverged already at step" in found.reason
    assert "smaller lr_min" in found.reason


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_never_finite_is_refused(value):
    found = answers(np.full(len(RATES), value))
    assert found.suggestion is None
    assert "not finite at the smallest rate, 1e-07" in found.reason


def test_nan_from_some_step_on_is_a_divergence():
    losses = curve()
    losses[120:] = math.nan
    found = answers(losses)
    assert found.diverged_at.tolist() == [120]
    assert found.suggestion is not None


def test_a_loss_may_be_negative_and_pass_through_zero():
    shifted = answers(curve() - 2)
    assert shifted.reason == ""
    assert RATES[shifted.diverged_at[0]] > FALL
    assert FALL / 100 < shifted.by_convention["minimum/10"] < RISE


def test_a_loss_that_still_falls_at_the_end_is_told():
    found = answers(np.linspace(3, 1, len(RATES)))
    assert found.still_falling
    assert found.diverged_at.tolist() == [-1]
    assert not answers(curve()).still_falling


def test_the_median_over_seeds_forgives_one_bad_seed():
    bad = np.full(len(RATES), math.nan)
    found = answers([curve(), bad, curve()])
    assert found.suggestion == pytest.approx(answers(curve()).suggestion)
    assert [bool(why) for why in found.reasons] == [False, True, False]
    assert answers([curve(), bad, bad]).suggestion is None
    assert "1 of 3 seeds gave no answer" in str(found.table().notes)


def test_scaling_the_loss_changes_no_answer():
    one, thousand = answers(curve()), answers(1000 * curve())
    for name, rate in one.by_convention.items():
        assert thousand.by_convention[name] == pytest.approx(rate), name


def test_the_record_can_be_drawn_printed_and_written(tmp_path):
    for losses in (curve(), np.full(len(RATES), 2.3)):
        found = answers(losses)
        axes = found.plot()
        assert axes.get_xscale() == "log"
        assert len(found.table().rows) == len(found.by_convention)
        lines = found.to_csv(tmp_path / "range.csv").read_text().splitlines()
        assert len(lines) == 1 + len(RATES)
        assert lines[0] == "run,step,learning_rate,loss,smoothed,diverged"


QUADRATIC = {"w": jnp.ones(3)}
DATA = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)


def quadratic(params, batch):
    return jnp.sum(jnp.square(params["w"] - batch))


def test_the_scan_is_plain_training():
    """Same losses as a loop that a user would write, and the order of batches is the seed's."""
    found = find_lr(quadratic, QUADRATIC, DATA, funcopt.adam(1.0), steps=40, seeds=[3], lr_max=0.1)
    order = jax.random.permutation(jax.random.split(jax.random.key(3))[1], 5)
    params, state, losses = QUADRATIC, funcopt.adam(1.0).init(QUADRATIC), []
    for step, rate in enumerate(np.geomspace(1e-7, 0.1, 40)):
        batch = DATA[order[step % 5]]
        losses.append(float(quadratic(params, batch)))
        grads = jax.grad(quadratic)(params, batch)
        params, state = funcopt.step(funcopt.adam(float(rate)), grads, state, params)
    np.testing.assert_allclose(found.losses[0], losses, rtol=1e-5)


def test_seeds_take_batches_in_orders_of_their_own():
    found = find_lr(quadratic, QUADRATIC, DATA, "sgd", steps=40, seeds=3, lr_max=1e-3)
    assert len({tuple(row) for row in np.round(found.losses, 4).tolist()}) == 3


def test_training_stops_where_the_loss_diverges():
    found = find_lr(quadratic, QUADRATIC, DATA, "sgd", steps=200, lr_min=1e-4, lr_max=1e4)
    left = found.diverged_at[0]
    # Gradient descent on |w|^2 is unstable above 1, and amplifies the noise of batches before.
    assert 0.5 < found.rates[left] < 2
    assert np.isfinite(found.losses[0, :left]).all()
    assert np.isnan(found.losses[0, left + 2 :]).all()


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "tx",
    [
        lambda rate: optax.sgd(rate, momentum=0.9),
        funcopt.sgd(0.5, momentum=0.9),
        funcopt.sgd(funcopt.linear_schedule(1.0, 0.0, 10), momentum=0.9),
        "sgd(momentum=0.9)",
        funcopt.chain(funcopt.clip_by_global_norm(1e9), funcopt.sgd(0.5, momentum=0.9)),
    ],
    ids=["factory", "value", "scheduled", "call", "chain"],
)
def test_a_transformation_may_be_given_in_many_ways(tx):
    found = find_lr(quadratic, QUADRATIC, DATA, tx, steps=60)
    plain = find_lr(quadratic, QUADRATIC, DATA, "sgd(momentum=0.9)", steps=60)
    np.testing.assert_allclose(found.losses, plain.losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lr_min": 0.0}, ValueError, "lr_min 0.0"),
        ({"lr_min": 1.0, "lr_max": 0.1}, ValueError, "0 < lr_min < lr_max"),
        ({"lr_max": math.inf}, ValueError, "finite"),
        ({"steps": 5}, ValueError, "steps: 5 given"),
        ({"smooth": 1.0}, ValueError, "smooth: 1.0"),
        ({"stop_factor": 1.0}, ValueError, "stop_factor: 1.0"),
        ({"convention": "valey"}, ValueError, "Did you mean 'valley'"),
        ({"seeds": 0}, ValueError, "seeds"),
        ({"tx": "adm"}, ValueError, "Did you mean 'adam'"),
        ({"tx": optax.adam(1e-3)}, TypeError, "lambda rate"),
        ({"tx": funcopt.clip(1.0)}, ValueError, "no learning rates"),
        (
            {"tx": funcopt.chain(funcopt.sgd(0.1), funcopt.sgd(0.1))},
            ValueError,
            "2 learning rates",
        ),
        ({"batches": {"x": jnp.zeros((3, 2)), "y": jnp.zeros(2)}}, ValueError, "the same for all"),
    ],
)
def test_bad_arguments_say_what_was_expected(change, error, message):
    arguments = {"batches": DATA, "tx": "adam"} | change
    batches, tx = arguments.pop("batches"), arguments.pop("tx")
    with pytest.raises(error, match=message.replace("(", r"\(")):
        find_lr(quadratic, QUADRATIC, batches, tx, **arguments)


def test_tasks_are_found_a_rate():
    task = get_task("digits")
    found = find_lr(task.loss, task.init, task.sample, funcopt.adam(1.0), seeds=2)
    assert found.reason == ""
    assert set(found.by_convention) == set(CONVENTIONS)
    assert 1e-4 < found.suggestion < 1e-1
