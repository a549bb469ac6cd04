"""Sweeps over any hyperparameter: plain trainings, compiled once, honest about the grid's edge."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.lab import compare, get_task, sweep

SMALL = {"task": "linear_regression", "steps": 30}


def counting(name="linear_regression"):
    """A task that counts how often its loss is traced for a gradient."""
    task, traced = get_task(name), []

    def loss(params, batch):
        traced.append(1)
        return task.loss(params, batch)

    return dataclasses.replace(task, loss=loss), traced


def test_rates_give_what_compare_gives():
    found = sweep("adam", "0.01:1:3", seeds=2, **SMALL)
    pair = compare(["adam"], lrs="0.01:1:3", seeds=2, **SMALL).sweeps[0]
    np.testing.assert_array_equal(found.loss, pair.loss)
    assert found.points.ravel().tolist() == pair.rates.tolist()
    assert found.names == ("learning_rate",)


def test_a_grid_is_every_combination_and_each_is_a_plain_training():
    over = {"learning_rate": [0.01, 0.1], "b1": [0.5, 0.9], "weight_decay": "1e-3,1e-1"}
    found = sweep("adamw(b2=0.9)", over, **SMALL)
    assert found.points.shape == (8, 3)
    assert len({tuple(point) for point in found.points.tolist()}) == 8

    task = get_task("linear_regression")
    start, data = jax.random.split(jax.random.key(0))
    for point in (0, 3, 5):
        settings = dict(zip(found.names, found.points[point].tolist(), strict=True))
        tx = funcopt.adamw(b2=0.9, **settings)
        params = task.init(start)
        state = tx.init(params)

        def one(carry, step, tx=tx):
            params, state = carry
            grads = jax.grad(task.loss)(params, task.sample(data, step))
            return funcopt.step(tx, grads, state, params), None

        (params, _), _ = jax.lax.scan(one, (params, state), jnp.arange(30))
        np.testing.assert_allclose(
            found.loss[0, point], task.evaluate(params)["loss"], rtol=1e-4, err_msg=str(settings)
        )


def test_thirty_two_settings_are_compiled_once_widening_included():
    task, traced = counting()
    grid = {"learning_rate": "1e-4:1e-3:8", "b1": [0.5, 0.7, 0.8, 0.9]}
    found = sweep("adam", grid, task=task, steps=10)
    assert found.points.shape == (32, 2)
    once, first = len(traced), found.best_loss
    assert 1 <= once <= 2  # the abstract one and the one that is differentiated
    found = sweep("adam", grid, task=task, steps=10, widen=2)
    assert len(traced) == 2 * once
    assert found.rounds == 3
    assert found.best_loss < first


def test_the_edge_is_told_and_widened_on_request():
    found = sweep("sgd", "1e-4:1e-3:4", **SMALL)
    assert found.edges == {"learning_rate": "highest"}
    assert "the highest learning_rate tried, so a better value may lie outside" in found.headline()
    wide = sweep("sgd", "1e-4:1e-3:4", widen=5, **SMALL)
    assert wide.edges == {}
    assert wide.best_loss < found.best_loss
    ratios = np.diff(np.log(np.sort(wide.points.ravel())))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
    assert 1 < wide.rounds <= 6
    assert len(wide.points) == 4 * wide.rounds


def test_the_lowest_end_is_an_edge_too():
    found = sweep("sgd", "0.3:300:4", widen=1, **SMALL)
    assert found.points.min() < 1e-3


def test_what_the_optimizer_refuses_is_not_tried():
    found = sweep("sgd(learning_rate=1e-3)", {"momentum": [0.5, 0.9]}, widen=3, **SMALL)
    assert found.edges == {"momentum": "highest"}
    assert found.rounds == 1
    assert "momentum" in found.kept["momentum"]
    assert found.points.max() == 0.9


def test_zero_is_not_widened():
    task = get_task("linear_regression")
    over = {"weight_decay": [0.0, 1.0]}
    found = sweep("adamw(learning_rate=0.1)", over, task=task, steps=100, widen=1)
    assert found.edges == {"weight_decay": "lowest"}
    assert "no ratio" in found.kept["weight_decay"]


def test_random_search_is_uniform_in_the_logarithm():
    over = {"learning_rate": "1e-4:1", "eps": (1e-10, 1e-2)}
    found = sweep("adam", over, samples=200, task="linear_regression", steps=1)
    u = np.log(found.points / [1e-4, 1e-10]) / np.log([1e4, 1e8])
    assert (u >= 0).all()
    assert (u <= 1).all()
    for column in u.T:
        counts, _ = np.histogram(column, bins=4, range=(0, 1))
        assert counts.min() > 30
    again = sweep("adam", over, samples=200, task="linear_regression", steps=1)
    np.testing.assert_array_equal(again.points, found.points)
    other = sweep("adam", over, samples=200, task="linear_regression", steps=1, draw=1)
    assert not (other.points == found.points).any()


def test_random_search_widens_its_range():
    found = sweep("sgd", {"learning_rate": "1e-5:1e-4"}, samples=8, widen=1, **SMALL)
    assert len(found.points) == 16
    assert 1e-4 < found.points.max() <= 1e-3


def test_any_function_of_keywords_can_be_swept():
    def clipped(learning_rate, max_norm):
        return funcopt.chain(
            funcopt.clip_by_global_norm(max_norm), funcopt.sgd(learning_rate, momentum=0.9)
        )

    found = sweep(clipped, {"learning_rate": "1e-2,1e-1", "max_norm": "0.01,100"}, **SMALL)
    assert found.label == "clipped"
    assert set(found.best) == {"learning_rate", "max_norm"}
    assert found.best["max_norm"] == 100


def test_a_schedule_has_the_rates_as_its_peaks():
    cosine = sweep("sgd", "0.01,0.1", schedule="cosine", **SMALL)
    constant = sweep("sgd", "0.01,0.1", **SMALL)
    assert (cosine.loss != constant.loss).all()


def test_when_all_diverge_there_is_no_best():
    found = sweep("sgd", "1e6,1e8", **SMALL)
    assert found.best is None
    assert found.edges == {}
    assert "every run diverged" in found.headline()
    assert math.isinf(found.best_loss)
    assert len(found.table().rows) == 2


def test_the_record_can_be_drawn_printed_and_written(tmp_path):
    one = sweep("sgd", "0.1,1e8", seeds=2, **SMALL)
    two = sweep("adam", {"learning_rate": "0.01,0.1", "b1": [0.0, 0.9]}, **SMALL)
    for found in (one, two):
        assert found.plot().get_xlabel() == "learning_rate"
        assert len(found.table().rows) == len(found.points)
        lines = found.to_csv(tmp_path / "sweep.csv").read_text().splitlines()
        assert len(lines) == 1 + len(found.points) * len(found.seeds)
    assert "2 of 4 runs diverged" in str(one.table().notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adm",), "Did you mean 'adam'"),
        (("adam", {"b3": [0.1, 0.2]}), "unknown adam argument 'b3'"),
        (("adam", {"b1": [0.1, 0.2]}), "learning_rate missing"),
        (("adam", {"learning_rate": [0.1], "b1": [0.5, 1.5]}), "adam: b1"),
        (("adam", "0.1:1"), "expected low:high:count"),
        (("adam", {}), "nothing given"),
        (("adam", [math.nan]), "expected low:high:count"),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        sweep(*arguments, **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "0:1", "samples": 3}, "both positive"),
        ({"over": "0.1", "samples": 3}, "both positive"),
        ({"over": "0.1:1", "samples": 0}, "samples 0"),
        ({"steps": 0}, "steps 0"),
        ({"widen": -1}, "widen -1"),
        ({"schedule": "cos"}, "Did you mean 'cosine'"),
        ({"task": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        sweep("adam", **({"over": "0.1,1"} | SMALL | options))
