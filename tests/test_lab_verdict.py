"""What is derived from a sweep, on sweeps that are made up so that the answer is known."""

import dataclasses
import math

import numpy as np
import pytest

from funcopt.lab import Sweep
from funcopt.lab.comparison.verdict import decades_within, judge, middle, steps_to
from funcopt.lab.training.train import diverged

RATES = np.array([0.01, 0.1, 1.0])


def made_up(loss, *, lost=False, accuracy=0.9, curves=None) -> Sweep:
    """A sweep of three rates with the final losses `loss[seed, rate]`."""
    loss = np.asarray(loss, np.float32)
    return Sweep(
        label="made up",
        rates=RATES,
        seeds=np.arange(len(loss)),
        steps=20,
        at=np.array([10, 20]),
        curves=np.ones((*loss.shape, 2)) if curves is None else np.asarray(curves),
        loss=loss,
        accuracy=np.full(loss.shape, accuracy),
        diverged=np.broadcast_to(lost, loss.shape),
        state_bytes=8.0,
        compile_seconds=1.0,
        run_seconds=2.0,
    )


def test_the_best_rate_has_the_smallest_median_over_seeds():
    verdict = judge(made_up([[9, 2, 1], [9, 2, 8], [9, 2, 9]]), target=0.0)
    assert verdict.best_rate == 0.1
    assert dataclasses.astuple(verdict.loss) == (2, 2, 2)
    assert not verdict.on_edge


def test_the_spread_is_that_of_the_seeds_at_the_best_rate():
    verdict = judge(made_up([[9, 1, 5], [9, 3, 5], [9, 2, 5]]), target=0.0)
    assert dataclasses.astuple(verdict.loss) == (2, 1, 3)


@pytest.mark.parametrize(
    ("loss", "edge"), [([1, 2, 3], True), ([3, 2, 1], True), ([2, 1, 2], False)]
)
def test_a_best_rate_at_the_end_of_the_grid_is_flagged(loss, edge):
    assert judge(made_up([loss]), target=0.0).on_edge is edge


def test_a_diverged_run_counts_as_infinitely_bad():
    lost = [[False, True, False], [False, True, False], [False, False, False]]
    verdict = judge(made_up([[3, 1, 4], [3, 1, 4], [3, 1, 4]], lost=lost), target=0.0)
    assert verdict.best_rate == 0.01
    assert verdict.diverged == 2
    assert verdict.runs == 9


def test_one_diverged_seed_shows_in_the_spread():
    lost = [[False, True, False], [False, False, False], [False, False, False]]
    verdict = judge(made_up([[3, 1, 4]] * 3, lost=lost), target=0.0)
    assert verdict.best_rate == 0.1
    assert verdict.loss.median == 1
    assert verdict.loss.high == math.inf


def test_nothing_is_best_when_all_diverged():
    verdict = judge(made_up([[1, 1, 1]], lost=True), target=2.0)
    assert verdict.best_rate is None
    assert verdict.loss.median == math.inf
    assert verdict.decades == 0
    assert verdict.steps_to_target is None


def test_losses_that_are_not_finite_or_far_above_guessing_have_diverged():
    curves = np.ones((1, 5, 2))
    curves[0, 1, 0] = np.nan
    loss = np.array([[1.0, 1.0, np.inf, 5.0, 3.9]])
    start = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]])
    found = diverged(curves, loss, start, chance=2.0)
    assert found.tolist() == [[False, True, True, True, False]]


def test_a_bad_start_is_no_divergence():
    assert not diverged(np.ones((1, 1, 1)), np.array([[9.0]]), np.array([[10.0]]), 2.0).any()


@pytest.mark.parametrize(
    ("losses", "decades"),
    [
        ([4, 1, 4], 1.0),  # half a decade to each side: log 2 is half of log 4
        ([1, 1, 1], 2.0),
        ([2, 1, 2], 2.0),
        ([1, 16, 1], 0.5),  # a quarter on each side of a ridge
        ([math.inf, 1, math.inf], 0.0),  # how far it goes towards divergence is not known
        ([math.inf, 1, 1], 1.0),
        ([math.inf] * 3, 0.0),
    ],
)
def test_decades_within_twice_the_best(losses, decades):
    assert decades_within(RATES, np.array(losses, float)) == pytest.approx(decades)


def test_what_does_not_train_forgives_nothing():
    assert decades_within(RATES, np.array([2.3, 2.2, 2.3]), chance=2.3) == 0
    assert decades_within(RATES, np.array([2.3, 1.0, 1.0]), chance=2.3) > 1
    assert judge(made_up([[2.3, 2.3, 2.3]]), target=0.0, chance=2.3).decades == 0


def test_one_rate_has_no_width():
    assert decades_within(np.array([0.1]), np.array([1.0])) == 0


def test_steps_to_target_is_the_median_of_the_first_crossings():
    at = np.array([10, 20, 30, 40])
    curves = np.array([[9, 1, 9, 9], [9, 9, 9, 1], [9, 9, 1, 1]])
    assert steps_to(1.0, at, curves) == 30


def test_the_target_is_never_met_when_most_seeds_miss_it():
    at = np.array([10, 20])
    assert steps_to(1.0, at, np.array([[9, 1], [9, 9], [9, 9]])) is None
    assert steps_to(1.0, at, np.array([[9, 1], [9, 1], [9, 9]])) == 20
    assert steps_to(1.0, at, np.array([[math.nan, math.nan]])) is None


def test_steps_to_target_belong_to_the_best_rate():
    curves = [[[0, 0], [9, 0.5], [9, 9]]]
    assert judge(made_up([[2, 1, 2]], curves=curves), target=0.5).steps_to_target == 20


@pytest.mark.parametrize(
    ("values", "median"), [([1, 2, 4], 2), ([1, 2, 4, 9], 3), ([1, math.inf], math.inf), ([5], 5)]
)
def test_medians_do_not_hide_infinity(values, median):
    assert middle(np.array(values, float)) == median
