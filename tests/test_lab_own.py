"""One's own optimizers and tasks in the lab: what is taken, and what is said of what is not."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.lab import Task, compare, find_lr, get_task, rescue, sweep
from funcopt.lab.problems.ready import ready
from funcopt.lab.training.candidates import candidates

X = np.random.default_rng(0).standard_normal((12, 16, 4)).astype(np.float32)
Y = X @ np.arange(4, dtype=np.float32)


def loss(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)


def sample(key, step):
    return jnp.asarray(X)[step % 12], jnp.asarray(Y)[step % 12]


BARE = Task(
    name="bare",
    summary="a linear model",
    init=lambda key: {"w": jax.random.normal(key, (4,))},
    sample=sample,
    loss=loss,
)
SMALL = {"lrs": "0.01:1:3", "seeds": 2, "steps": 12}

# -- optimizers -----------------------------------------------------------------------------------


def mine(rate):
    return optax.chain(optax.clip(1.0), optax.sgd(rate))


GUARDED = funcopt.guard(funcopt.sgd(0.5, momentum=0.9))


@pytest.mark.default_promotion
def test_a_list_of_functions_transformations_and_names():
    given = [optax.adam, "adam", mine, GUARDED]
    found = compare(given, task=BARE, **SMALL)
    labels = ["optax.adam", "adam", "mine", "guard(inner=sgd(momentum=0.9))"]
    assert found.plan.labels == labels
    by_name = compare(
        {"a": lambda rate: funcopt.guard(funcopt.sgd(rate, momentum=0.9)), "b": funcopt.adam(0.1)},
        task=BARE,
        **SMALL,
    )
    for one, other in (("guard(inner=sgd(momentum=0.9))", "a"), ("adam", "b")):
        np.testing.assert_allclose(
            found.sweep(one).loss, by_name.sweep(other).loss, rtol=1e-5, err_msg=one
        )


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (funcopt.adam(1e-3), ["adam"]),
        (funcopt.adam, ["adam"]),
        ("adam", ["adam"]),
        ([funcopt.adam(1e-3, b1=0.8), funcopt.adam(funcopt.linear_schedule(1.0, 0.0, 5))],
         ["adam(b1=0.8)", "adam"]),
        ({"a": "sgd(momentum=0.9)", 1: funcopt.sgd(0.1)}, ["a", "1"]),
    ],
)  # fmt: skip
def test_labels(given, labels):
    assert [each.label for each in candidates(given)] == labels


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([optax.adam(1e-3)], TypeError, "lambda rate: optax.adam"),
        ({"a": optax.adam(1e-3)}, TypeError, "'a'.*lambda rate: optax.adam"),
        ({"a": 0.1}, TypeError, "'a'.*0.1 given"),
        ([funcopt.clip(1.0)], ValueError, "no learning rates"),
        ([funcopt.rules.Adam()], TypeError, "expected a transformation"),
        ({"a": lambda rate: rate}, TypeError, "'a' returned 0.001"),
        ([funcopt.sgd(0.1), funcopt.sgd(0.2)], ValueError, "sgd given more than once.*a dict"),
        (7, TypeError, "7 given, expected a name"),
        ([], ValueError, "none given"),
    ],
)
def test_what_is_no_optimizer(given, error, words):
    with pytest.raises(error, match=words):
        candidates(given)


def test_errors_of_functions_say_whose_they_are():
    with pytest.raises(TypeError) as caught:
        candidates([lambda: None])
    assert "optimizers: '<lambda>', called with a rate of 0.001" in "".join(caught.value.__notes__)


def test_a_sweep_of_a_transformation():
    over = {"learning_rate": [0.1, 0.2], "momentum": [0.0, 0.9]}
    ours = sweep(funcopt.sgd(1.0), over, task=BARE, steps=5)
    theirs = sweep("sgd", over, task=BARE, steps=5)
    np.testing.assert_array_equal(ours.loss, theirs.loss)
    guarded = sweep(funcopt.guard(funcopt.sgd(1.0)), [0.1, 0.2], task=BARE, steps=5)
    np.testing.assert_allclose(guarded.loss, theirs.loss[:, [0, 2]], rtol=1e-6)
    with pytest.raises(ValueError, match="momentm"):
        sweep(funcopt.sgd(1.0), {"momentm": [0.1]}, task=BARE)


# -- tasks ----------------------------------------------------------------------------------------


def test_a_task_without_accuracy_chance_and_target(tmp_path):
    found = compare(["adam", "sgd"], task=BARE, **SMALL)
    assert "held-out loss" in found.headline()
    assert not found.has_accuracy
    assert all(each.steps_to_target is None for each in found.verdicts)
    assert found.table() is not None
    page = found.save(tmp_path)[0].read_text()
    assert "steps to" not in page.split("<tbody>")[0].split("<table>")[-1]
    assert "nan" not in found.to_csv(tmp_path / "x.csv").read_text().split("\n")[1].split(",")[5]
    assert found.summary()["ranking"][0]["steps_to_target"] is None
    swept = sweep("adam", [0.1, 0.2], task=BARE, steps=5)
    swept.plot()
    assert "held-out loss" in swept.headline()


def test_the_default_verdict_is_the_loss_on_batches_of_a_key_apart():
    def noisy(key, step):
        return jax.random.normal(jax.random.fold_in(key, step), (4,))

    task = dataclasses.replace(
        BARE, sample=noisy, loss=lambda params, batch: jnp.mean((params["w"] - batch) ** 2)
    )
    made = ready(task)
    params = {"w": jnp.zeros(4)}
    keys = [noisy(jax.random.key(0x5EED), step) for step in range(8)]
    expected = np.mean([task.loss(params, batch) for batch in keys])
    assert float(made.evaluate(params)["loss"]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("negative", [False, True])
def test_a_loss_that_is_negative_or_zero_is_drawn_too(negative, tmp_path):
    task = dataclasses.replace(BARE, loss=lambda p, b: loss(p, b) - 100.0 * negative)
    found = compare(["sgd"], task=task, lrs="0.01,0.1,1e3", seeds=1, steps=12)
    assert found.sweeps[0].diverged.tolist() == [[False, False, True]]
    found.save(tmp_path)


@pytest.mark.parametrize("told", ["dict", "scalar"])
def test_an_evaluation_without_accuracy(told):
    def evaluate(params):
        score = jnp.sum(params["w"] ** 2)
        return {"loss": score} if told == "dict" else score

    task = dataclasses.replace(BARE, evaluate=evaluate, scored="size")
    found = compare(["sgd"], task=task, **SMALL)
    assert "size" in found.headline()
    assert np.isnan(found.sweeps[0].accuracy).all()


MLP = eqx.nn.MLP(4, "scalar", 8, 1, jax.nn.relu, key=jax.random.key(0))


def test_a_whole_model_a_loader_and_a_key():
    def noisy(model, batch, key):
        x, y = batch
        return jnp.mean((jax.vmap(model)(x) - y + jax.random.normal(key, y.shape)) ** 2)

    task = Task(
        name="model",
        summary="a network",
        init=lambda key: eqx.nn.MLP(4, "scalar", 8, 1, jax.nn.relu, key=key),
        sample=zip(X, Y, strict=True),
        loss=noisy,
        evaluate=lambda model: jnp.mean((jax.vmap(model)(X[0]) - Y[0]) ** 2),
    )
    found = compare(["adam"], task=task, lrs=[1e-2], seeds=2, steps=30)
    start = ready(dataclasses.replace(task, sample=(X, Y)))
    before = float(start.evaluate(start.init(jax.random.key(5)))["loss"])
    assert found.sweeps[0].loss.max() < before
    assert len(set(found.sweeps[0].loss[:, 0].tolist())) == 2


def wrong(**changes):
    return dataclasses.replace(BARE, **changes)


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        (wrong(sample=lambda key, step: (X[step], Y[step])), TypeError,
         "'bare': sample cannot be compiled: batches of NumPy or of a loader are given as they"),
        (wrong(loss=lambda params, batch: float(loss(params, batch))), TypeError,
         "loss cannot be compiled: use jax.numpy"),
        (wrong(loss=lambda params, batch: batch[0] @ params["w"]), ValueError,
         r"loss returned float32\[16\], expected a floating-point scalar"),
        (wrong(evaluate=lambda params: {"accuracy": 1.0}), ValueError,
         'evaluate returned .*expected {"loss": a scalar}'),
        (wrong(init=lambda key: {"w": 3}), ValueError, "nothing to train"),
        (wrong(init={"w": jnp.ones(4)}), ValueError, "init is .* expected a function"),
        (7, TypeError, "7 given, expected a name or a funcopt.lab.Task"),
    ],
)  # fmt: skip
def test_what_is_no_task_is_said_before_anything_is_compiled(task, error, words):
    with pytest.raises(error, match=words):
        compare(["adam"], task=task, **SMALL)


def test_errors_of_a_task_say_where_they_come_from():
    task = wrong(loss=lambda params, batch: params["weight"])
    with pytest.raises(KeyError) as caught:
        compare(["adam"], task=task, **SMALL)
    assert "from loss of the task 'bare'" in "".join(caught.value.__notes__)


def test_rescue_has_tasks_of_its_own():
    with pytest.raises(TypeError, match=r"expected the name of one of its cases.*deep_tanh"):
        rescue(BARE)
    with pytest.raises(TypeError, match="expected the name"):
        rescue(get_task("digits"))


def test_a_task_of_ones_own_is_found_a_rate():
    made = ready(wrong(sample=(X, Y)))
    assert find_lr(made.loss, made.init, made.sample, "adam", seeds=1).reason == ""


MODULE = """
import jax.numpy as jnp
from funcopt.lab import Task

def task():
    return Task(
        name="imported",
        summary="a number",
        init=lambda key: jnp.ones(1),
        sample=lambda key, step: (),
        loss=lambda params, batch: jnp.sum(params**2),
    )

made, other = task(), 7
"""


def test_a_task_of_a_module_in_this_folder(tmp_path, monkeypatch):
    tmp_path.joinpath("tasks_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    for name in ("made", "task"):
        found = compare(["sgd"], task=f"tasks_of_mine:{name}", lrs=[0.1], seeds=1, steps=3)
        assert found.task.name == "imported"
    for name, words in (
        ("tasks_of_mine:other", "is 7, expected a funcopt.lab.Task"),
        ("tasks_of_mine:nothing", "module:name of a task of your own"),
        ("nowhere_at_all:made", "No module named"),
        (":", "Empty module name"),
    ):
        with pytest.raises(ValueError, match=words):
            get_task(name)
