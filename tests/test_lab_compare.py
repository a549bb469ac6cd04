"""Comparisons: the numbers are those of plain training, whatever the chunks and the company."""

import csv
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.lab import compare, get_task
from funcopt.lab.comparison.compare import parse_rates, plan
from funcopt.lab.training.candidates import SCHEDULES, parse

SMALL = {"task": "linear_regression", "lrs": "0.01:1:3", "steps": 30}


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def found(events):
    return compare(["sgd", "adam"], seeds=2, progress=events.append, **SMALL)


def plain_loss(task, tx, seed, steps):
    """The verdict on one run, trained as a user would."""
    start, data = jax.random.split(jax.random.key(seed))

    @jax.jit
    def one_step(tx, params, state, step):
        grads = jax.grad(task.loss)(params, task.sample(data, step))
        updates, state = tx.update(grads, state, params)
        return funcopt.apply_updates(params, updates), state

    params = jax.jit(task.init)(start)
    state = tx.init(params)
    for step in range(steps):
        params, state = one_step(tx, params, state, jnp.int32(step))
    return jax.jit(task.evaluate)(params)["loss"]


def test_a_sweep_is_many_plain_runs():
    whole = get_task("linear_regression")
    everything = whole.sample(jax.random.key(0), jnp.int32(0))

    def some_rows(key, step):
        rows = jax.random.permutation(jax.random.fold_in(key, step), 800)[:20]
        return jax.tree.map(lambda leaf: leaf[rows], everything)

    task = dataclasses.replace(whole, sample=some_rows)
    found = compare(["adam"], task=task, lrs=[1e-3, 0.1], seeds=[1, 5], steps=10)
    for place, (seed, rate) in {(0, 0): (1, 1e-3), (1, 1): (5, 0.1)}.items():
        alone = plain_loss(task, funcopt.adam(rate), seed, 10)
        np.testing.assert_allclose(found.sweeps[0].loss[place], alone, rtol=2e-5)


def test_chunks_do_not_change_numbers(found):
    coarse = compare(["sgd"], seeds=2, points=4, **SMALL).sweeps[0]
    fine = found.sweeps[0]
    np.testing.assert_array_equal(fine.loss, coarse.loss)
    assert fine.at.tolist() == list(range(1, 31))
    assert coarse.at.tolist() == [7, 15, 22, 30]
    expected = fine.curves[..., :7].mean(-1)
    np.testing.assert_allclose(coarse.curves[..., 0], expected, rtol=1e-6)


def test_the_same_seeds_give_the_same_lines_in_any_company(found, tmp_path):
    alone = compare(["adam"], seeds=2, **SMALL).to_csv(tmp_path / "alone.csv").read_text()
    both = found.to_csv(tmp_path / "both.csv").read_text()
    assert alone.splitlines()[1:] == both.splitlines()[7:]


def test_seeds_differ(found):
    for sweep in found.sweeps:
        assert (sweep.loss[0] != sweep.loss[1]).all()


def test_every_run_is_in_the_file(found, tmp_path):
    with found.to_csv(tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2
    assert {row["optimizer"] for row in rows} == {"sgd", "adam"}
    best = found.verdicts[0]
    losses = [
        float(row["final_loss"])
        for row in rows
        if row["optimizer"] == best.label
        and math.isclose(float(row["learning_rate"]), best.best_rate)
    ]
    assert min(losses) == pytest.approx(best.loss.low, rel=1e-6)
    assert max(losses) == pytest.approx(best.loss.high, rel=1e-6)


def test_what_diverges_is_counted_and_never_best():
    found = compare(["sgd"], task="linear_regression", lrs=[0.1, 1e3], seeds=1, steps=60)
    assert found.sweeps[0].diverged.tolist() == [[False, True]]
    assert found.verdicts[0].best_rate == 0.1
    assert found.verdicts[0].diverged == 1


def test_all_diverged_says_so(found):
    lost = [
        dataclasses.replace(sweep, diverged=np.ones_like(sweep.diverged)) for sweep in found.sweeps
    ]
    found = dataclasses.replace(found, sweeps=tuple(lost))
    assert [verdict.best_rate for verdict in found.verdicts] == [None, None]
    assert found.headline() == "Every run diverged: try smaller learning rates."


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_start_and_end_where_they_should(name):
    rate = SCHEDULES[name](0.5, 100)
    at = rate if callable(rate) else lambda step: rate
    values = [float(at(step)) for step in range(101)]
    assert max(values) == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0.5 if name == "constant" else 0.0, abs=1e-6)


def test_a_schedule_is_a_function_of_the_rate():
    found = compare(["sgd"], schedule="cosine", seeds=[0], **SMALL)
    task = get_task("linear_regression")
    tx = funcopt.sgd(funcopt.cosine_decay_schedule(0.1, 30))
    np.testing.assert_allclose(found.sweeps[0].loss[0, 1], plain_loss(task, tx, 0, 30), rtol=2e-5)


def test_own_transformations_can_be_compared():
    mine = {
        "clipped": lambda rate: funcopt.chain(
            funcopt.clip_by_global_norm(1.0), funcopt.sgd(rate, momentum=0.9)
        )
    }
    found = compare(mine, seeds=1, **SMALL)
    assert found.verdicts[0].label == "clipped"
    assert np.isfinite(found.verdicts[0].loss.median)


def test_what_reads_the_curvature_is_given_an_estimate():
    """Without one its steps would be signs, which go past a minimum that is near."""
    found = compare(["sophia(gamma=1.0, b2=0.5)", "signum"], seeds=1, **SMALL)
    ours, signs = found.sweeps
    assert not ours.diverged.any()
    assert np.all(ours.loss[0, 1:] < 0.6 * signs.loss[0, 1:])


def test_a_call_is_the_factory_with_these_arguments():
    assert parse("sgd(momentum=0.9)").make(0.1) == funcopt.sgd(0.1, momentum=0.9)
    assert parse("adam( b1 = 0.8 )").label == "adam(b1=0.8)"


def stop_at(label, step):
    """A watcher that presses Ctrl-C."""

    def watcher(event):
        if event.label == label and event.step == step:
            raise KeyboardInterrupt

    return watcher


def test_an_interrupt_keeps_what_was_done(found):
    names = ["sgd", "sgd(momentum=0.9)", "adam"]
    part = compare(names, seeds=2, progress=stop_at(names[1], 12), **SMALL)
    assert part.interrupted
    assert not found.interrupted
    assert [sweep.steps for sweep in part.sweeps] == [30, 12]
    np.testing.assert_array_equal(part.sweeps[0].loss, found.sweeps[0].loss)
    assert part.sweeps[1].curves.shape[-1] == 12
    assert [verdict.label for verdict in part.verdicts] == names[:2]


@pytest.mark.parametrize("step", [None, 0])
def test_an_interrupt_before_the_first_step_leaves_the_optimizer_out(step):
    part = compare(["sgd"], seeds=1, progress=stop_at("sgd", step), **SMALL)
    assert part.interrupted
    assert part.sweeps == ()
    assert part.headline() == "Nothing was finished."


def test_progress_goes_from_nothing_to_everything(events, found):
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert [event.sweep for event in events if event.sweep is not None] == list(found.sweeps)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"optimizers": ["adam2"]}, "unknown optimizer 'adam2'. Did you mean 'adam'"),
        ({"optimizers": ["adam(b3=0.5)"]}, "unknown adam argument 'b3'"),
        ({"optimizers": ["adam(b1=2.0)"]}, "b1 must be"),
        ({"optimizers": ["adam(0.1)"]}, "expected a name or a call"),
        ({"optimizers": ["adam", "adam"]}, "more than once"),
        ({"optimizers": []}, "none given"),
        ({"task": "digit"}, "unknown task 'digit'. Did you mean 'digits'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ({"lrs": "1:2"}, "lrs: cannot read '1:2'"),
        ({"lrs": "a,b"}, "lrs: cannot read"),
        ({"lrs": "0.1:1:0"}, "positive finite"),
        ({"lrs": [-1.0]}, "positive finite"),
        ({"seeds": 0}, "seeds: 0 given"),
        ({"steps": 0}, "steps: 0 given"),
    ],
)
def test_bad_requests_are_refused_by_name(words, message):
    words = {"optimizers": ["adam"], **words}
    with pytest.raises(ValueError, match=message):
        plan(words.pop("optimizers"), **words)


def test_rates_are_ascending_and_exact_at_the_ends():
    rates = parse_rates("1e-4:1:17")
    assert len(rates) == 17
    assert (rates[0], rates[-1]) == (1e-4, 1.0)
    np.testing.assert_allclose(np.diff(np.log10(rates)), 0.25)
    assert parse_rates("0.1, 0.01").tolist() == [0.01, 0.1]


def test_an_optimizer_is_one_program(monkeypatch):
    task, traces, programs, jit = get_task("linear_regression"), [], [], jax.jit

    def loss(params, batch):
        traces.append(1)
        return task.loss(params, batch)

    def counting(function, **options):
        programs.append(function.__name__)
        return jit(function, **options)

    monkeypatch.setattr(jax, "jit", counting)
    watched = dataclasses.replace(task, loss=loss)
    compare(["sgd"], seeds=2, **{**SMALL, "task": watched})
    assert programs.count("advance") == 1
    assert len(traces) <= 2
