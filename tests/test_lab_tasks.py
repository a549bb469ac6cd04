"""The lab's tasks: their data, their optima, and that they are what they are said to be."""

import functools
import importlib.resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model

from funcopt.lab import TASKS, get_task, load_digits
from funcopt.lab.problems.characters import LETTERS, load_characters
from funcopt.lab.problems.characters import logits as reading
from funcopt.lab.problems.tasks import split_digits


def test_digits_are_those_of_scikit_learn():
    images, labels = load_digits()
    theirs = sklearn.datasets.load_digits()
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)


def test_digits_name_their_source():
    problems = importlib.resources.files("funcopt.lab.problems")
    text = (problems / "data" / "ATTRIBUTION.md").read_text()
    assert "10.24432/C50P49" in text
    assert "CC BY 4.0" in text


def test_every_image_is_in_one_part():
    (train, train_labels), (test, test_labels) = split_digits()
    assert len(train) == len(train_labels) == 1437
    assert len(test) == len(test_labels) == 360
    images = np.concatenate([train, test])
    assert images.min() == 0
    assert images.max() == 1
    everything = load_digits()[0].reshape(-1, 64) / 16
    np.testing.assert_array_equal(np.sort(images.sum(1)), np.sort(everything.sum(1)))


@functools.cache
def first_look(name):
    """The verdict, the loss and the gradients at the start."""
    task = get_task(name)

    @jax.jit
    def look():
        params = task.init(jax.random.key(0))
        batch = task.sample(jax.random.key(1), jnp.int32(0))
        return task.evaluate(params), *jax.value_and_grad(task.loss)(params, batch)

    return look()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_finite_losses_and_gradients(name):
    verdict, loss, grads = first_look(name)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert verdict["loss"].shape == verdict["accuracy"].shape == ()
    assert get_task(name).target < get_task(name).chance


@pytest.mark.parametrize("name", ["digits", "deep_tanh"])
def test_batches_depend_on_the_seed_and_the_step(name):
    task = get_task(name)
    first = task.sample(jax.random.key(0), jnp.int32(0))[0]
    np.testing.assert_array_equal(first, task.sample(jax.random.key(0), jnp.int32(0))[0])
    assert not np.array_equal(first, task.sample(jax.random.key(0), jnp.int32(1))[0])
    assert not np.array_equal(first, task.sample(jax.random.key(1), jnp.int32(0))[0])


def test_characters_are_of_their_alphabet():
    codes = load_characters()
    assert (codes.shape, codes.dtype) == ((100_000,), np.uint8)
    assert codes.max() < LETTERS
    problems = importlib.resources.files("funcopt.lab.problems")
    assert "PSF License" in (problems / "data" / "ATTRIBUTION.md").read_text()


def test_a_reader_does_not_see_what_comes():
    task = get_task("characters")
    params = task.init(jax.random.key(0))
    window = task.sample(jax.random.key(1), jnp.int32(0))[:2, :-1]
    changed = window.at[:, 20].set((window[:, 20] + 1) % LETTERS)
    one, other = reading(params, window), reading(params, changed)
    np.testing.assert_array_equal(one[:, :20], other[:, :20])
    assert np.all(np.any(np.asarray(one[:, 20:]) != np.asarray(other[:, 20:]), axis=-1))


def test_gradients_of_deep_tanh_vanish():
    _, _, grads = first_look("deep_tanh")
    norms = [float(jnp.linalg.norm(layer["bias"])) for layer in grads]
    assert len(norms) == 20
    assert 0 < norms[0] < 1e-3 * norms[-2]


def test_optimum_of_logistic_digits_is_scikit_learns():
    task = get_task("logistic_digits")
    (x, labels), _ = split_digits()
    penalty = 1 / (len(x) * task.settings["l2"])
    model = sklearn.linear_model.LogisticRegression(C=penalty, tol=1e-8, solver="newton-cg")
    model.fit(x.astype(np.float64), labels)
    chance = model.predict_log_proba(x.astype(np.float64))[np.arange(len(x)), labels]
    value = -np.mean(chance) + task.settings["l2"] / 2 * np.sum(model.coef_**2)
    assert value == pytest.approx(task.optimum, rel=1e-9)
    params = {
        "kernel": jnp.asarray(model.coef_.T, jnp.float32),
        "bias": jnp.asarray(model.intercept_, jnp.float32),
    }
    assert float(task.evaluate(params)["loss"]) == pytest.approx(task.optimum, rel=1e-6)


def test_optimum_of_linear_regression_is_the_closed_form():
    task = get_task("linear_regression")
    x, y = task.sample(jax.random.key(0), jnp.int32(0))
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    fitted = np.linalg.solve(x.T @ x, x.T @ y)
    params = {"w": jnp.asarray(fitted, jnp.float32)}
    assert float(task.loss(params, task.sample(jax.random.key(0), 0))) == pytest.approx(
        task.optimum, rel=1e-5
    )
    np.testing.assert_allclose(jax.grad(task.loss)(params, task.sample(None, 0))["w"], 0, atol=1e-6)


def test_an_unknown_task_gets_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        get_task("digit")
