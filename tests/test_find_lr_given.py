"""The range test on what people have: models, loaders, and the optimizer that will train."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import funcopt
from funcopt.lab import find_lr

TRUTH = jnp.arange(4.0)
X = np.random.default_rng(0).standard_normal((12, 32, 4)).astype(np.float32)
Y = X @ np.asarray(TRUTH)
PARAMS = {"w": jnp.zeros(4)}


def loss(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)


def found(tx="adam", batches=(X, Y), params=PARAMS, loss=loss, **options):
    return find_lr(loss, params, batches, tx, **{"lr_min": 1e-5, **options})


@functools.cache
def plain(tx="adam"):
    """The answer to which most others are compared."""
    return found(tx)


CLIPPED = funcopt.chain(funcopt.clip_by_global_norm(1e9), funcopt.adam(1e-3))
TRAINING = {
    "guard": funcopt.guard(CLIPPED),
    "monitor": funcopt.monitor(funcopt.guard(CLIPPED), every=50),
    "loss_scale": funcopt.loss_scale(funcopt.adam(funcopt.linear_schedule(1.0, 0.0, 10))),
    "partition": funcopt.partition({"w": CLIPPED}),
}


@pytest.mark.parametrize("name", TRAINING)
def test_the_optimizer_that_will_train(name):
    np.testing.assert_allclose(found(TRAINING[name]).losses, plain().losses, rtol=1e-4)


def test_behind_accumulate_a_step_is_an_update():
    """Which sees the same numbers where every batch comes twice in a row."""

    def pick(step):
        return jnp.asarray(X)[step % 12], jnp.asarray(Y)[step % 12]

    tx = funcopt.guard(funcopt.accumulate(funcopt.adam(1e-3), 2))
    over = found(tx, lambda key, step: pick(step // 2))
    plain = found("adam", lambda key, step: pick(step))
    np.testing.assert_allclose(over.losses, plain.losses, rtol=1e-4)


def test_groups_keep_their_ratios():
    params = {"w": jnp.zeros(4), "b": jnp.zeros(4)}

    def both(params, batch):
        return loss({"w": params["w"] + params["b"]}, batch)

    def grouped(w, b):
        return funcopt.partition({"w": funcopt.sgd(w), "b": funcopt.sgd(b)})

    ours = found(grouped(0.2, 0.1), params=params, loss=both)
    theirs = found(lambda rate: grouped(rate, rate / 2), params=params, loss=both)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)


class Loader:
    """Gives batches in the way of PyTorch's, whose tensors NumPy reads."""

    def __init__(self, count, last=None):
        self.count, self.last = count, last

    def __len__(self):
        return self.count

    def __iter__(self):
        for step in range(self.count):
            rows = slice(self.last if step == self.count - 1 else None)
            yield [Tensor(X[step % 12][rows]), Tensor(Y[step % 12][rows])]


@dataclasses.dataclass
class Tensor:
    numbers: np.ndarray

    def __array__(self, dtype=None, copy=None):
        return self.numbers


PAIRS = [(x, y) for x, y in zip(X, Y, strict=True)]
ITERABLES = {
    "loader": lambda: Loader(12),
    "generator": lambda: (pair for pair in PAIRS),
    "list": lambda: PAIRS,
    "zip": lambda: zip(X, Y, strict=True),
    "a list of two arrays": lambda: [X, Y],
}


@pytest.mark.parametrize("name", ITERABLES)
def test_iterables_are_stacked(name):
    np.testing.assert_allclose(found(batches=ITERABLES[name]()).losses, plain().losses, rtol=1e-6)


def test_no_more_batches_are_taken_than_are_used_and_the_last_is_left_out():
    taken = []

    def forever():
        while True:
            taken.append(0)
            yield PAIRS[len(taken) % 12]

    found(batches=forever(), steps=40)
    assert len(taken) == 40
    same = found(batches=(X[:7], Y[:7]))
    for shorter in (Loader(8, last=5), [(np.asarray(x), np.asarray(y)) for x, y in Loader(8, 5)]):
        np.testing.assert_allclose(found(batches=shorter).losses, same.losses, rtol=1e-6)


def test_batches_whose_rows_are_spread_over_an_explicit_mesh():
    with jax.set_mesh(jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))):
        batches = [jax.device_put(pair, P("data")) for pair in PAIRS]
        assert "32@data" in str(jax.typeof(batches[0][0]))
        np.testing.assert_allclose(found(batches=batches).losses, plain().losses, rtol=1e-6)


def test_errors_of_a_loss_are_those_of_one_batch():
    with pytest.raises(KeyError, match="'z'"):
        found(batches=[{"x": x} for x in X], loss=lambda params, batch: jnp.sum(batch["z"]))


def test_a_list_of_arrays_is_a_list_of_batches():
    def alone(params, x):
        return jnp.mean((x @ (params["w"] - TRUTH)) ** 2)

    np.testing.assert_allclose(
        found(batches=list(X), loss=alone).losses, found(batches=X, loss=alone).losses, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("batches", "error", "words"),
    [
        (iter(()), ValueError, "gave no batch"),
        (iter([(X[0], Y[0]), {"x": X[0]}]), ValueError, "the same structure"),
        ((np.array(["a", "b"]),) * 2, TypeError, "'0' is an array of <U1"),
        ("digits", ValueError, "an iterable of batches"),
    ],
)
def test_what_is_no_batches(batches, error, words):
    with pytest.raises(error, match=words):
        found(batches=batches)


# -- models ---------------------------------------------------------------------------------------

MODEL = eqx.nn.Sequential(
    [eqx.nn.Linear(4, 4, key=jax.random.key(1)), eqx.nn.Dropout(0.5), eqx.nn.Lambda(jnp.tanh)]
)
MLP = eqx.nn.MLP(4, "scalar", 8, 2, jax.nn.relu, key=jax.random.key(0))


def of_model(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def test_a_whole_model():
    arrays, rest = eqx.partition(MLP, eqx.is_inexact_array)

    def of_arrays(arrays, batch):
        return of_model(eqx.combine(arrays, rest), batch)

    whole = found(TRAINING["monitor"], params=MLP, loss=of_model)
    alone = found(params=arrays, loss=of_arrays)
    # While it diverges, the rounding of two programs grows with it.
    np.testing.assert_allclose(whole.losses[0, :80], alone.losses[0, :80], rtol=1e-4)
    made = found(params=lambda key: MLP, loss=of_model)
    np.testing.assert_allclose(made.losses[0, :80], whole.losses[0, :80], rtol=1e-4)
    assert whole.suggestion is not None


def test_a_loss_with_a_key():
    def noisy(model, batch, key):
        x, y = batch
        keys = jax.random.split(key, len(x))
        return jnp.mean((jax.vmap(model)(x, key=keys)[:, 0] - y) ** 2)

    one = found(params=MODEL, loss=noisy, seeds=[0])
    again = found(params=MODEL, loss=noisy, seeds=[0])
    assert np.isfinite(one.losses[0, 0])
    np.testing.assert_array_equal(one.losses, again.losses)
    still = eqx.nn.inference_mode(MODEL)
    assert not np.allclose(one.losses[0, :9], found(params=still, loss=noisy).losses[0, :9])


# -- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("tx", ["adam", TRAINING["guard"]], ids=["adam", "guard"])
def test_a_batch_that_is_not_finite_is_left_out_and_said(tx):
    bad = X.copy()
    bad[3, 0, 0] = np.nan
    clean, spoilt = plain(tx), found(tx, batches=(bad, Y))
    times = int(spoilt.bad_batches.sum())
    assert times in (8, 9)
    assert np.isnan(spoilt.losses[spoilt.bad_batches]).all()
    assert f"{times} of 100 steps had a batch that is not finite" in spoilt.headline()
    assert spoilt.suggestion == pytest.approx(clean.suggestion, rel=0.5)
    assert (clean.warning, clean.bad_batches.any()) == ("", False)


def test_a_step_that_is_not_finite_does_not_count():
    """Numbers that are finite, and a gradient that is not: the square root of zero."""

    def rooted(params, batch):
        x, y = batch
        far = jnp.where(y == 0, x[:, 0] * params["w"][0] * 0, 1.0)
        return loss(params, batch) + jnp.mean(jnp.sqrt(far)) - 1

    zero = Y.copy()
    zero[3, 0] = 0.0
    clean, spoilt = plain(), found(loss=rooted, batches=(X, zero))
    assert spoilt.bad_steps.sum() in (8, 9)
    assert "had a loss or a gradient that is not finite: look at the data" in spoilt.headline()
    assert spoilt.suggestion == pytest.approx(clean.suggestion, rel=0.5)


def test_when_no_batch_is_finite():
    spoilt = found(batches=(X * np.nan, Y))
    assert spoilt.headline() == "No suggestion: no batch is finite: look at the data."


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"loss": PARAMS}, TypeError, "expected a function"),
        ({"tx": lambda rate: rate}, TypeError, "tx returned 0.001"),
        ({"tx": funcopt.guard(funcopt.clip(1.0))}, ValueError, "no learning rates"),
    ],
)
def test_slips_are_said(changes, error, words):
    with pytest.raises(error, match=words):
        found(**changes)


@pytest.mark.parametrize("more", [lambda x: x * jnp.ones(2), lambda x: (x, {"aux": x}), jnp.isnan])
def test_a_loss_must_be_a_scalar(more):
    with pytest.raises(ValueError, match="expected a floating-point scalar alone"):
        found(loss=lambda params, batch: more(loss(params, batch)))
