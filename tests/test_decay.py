"""Weight decays beside optimizers: against NumPy, and those that mean the same."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt import decays
from tests.reference.adam import adam
from tests.test_conventions import DECAYING, RECORDS, REFUSED, made

RANDOM = np.random.default_rng(9)
START = {"kernel": RANDOM.standard_normal((3, 4)), "bias": RANDOM.standard_normal(4)}
START["kernel"][0, 0] = 0.0
GRADS = [{leaf: RANDOM.standard_normal(x.shape) for leaf, x in START.items()} for _ in range(12)]
for grads in GRADS:
    grads["kernel"][1] = 0.0  # Adam's direction is 0 there, where `cautious` decays
LAMBDA, LARGEST = 0.7, 0.1


def rate(t):
    """Of the t-th step, from 1 on."""
    return LARGEST * 0.5 ** ((t - 1) // 4)


SCHEDULE = funcopt.piecewise_constant_schedule(LARGEST, {4: 0.5, 8: 0.5})

# Where η is the rate, u the direction and x the parameter: the parameter after the step.
MODES = {
    "decoupled": (decays.decoupled(LAMBDA), lambda x, u, η: x - η * u - η * LAMBDA * x),
    "after": (decays.decoupled(LAMBDA, "after"), lambda x, u, η: (x - η * u) * (1 - η * LAMBDA)),
    "independent": (decays.independent(0.07), lambda x, u, η: x - η * u - 0.07 * x),
    "corrected": (
        decays.corrected(LAMBDA, LARGEST),
        lambda x, u, η: x - η * u - η**2 / LARGEST * LAMBDA * x,
    ),
    "squared": (decays.squared(LAMBDA), lambda x, u, η: x - η * u - η**2 * LAMBDA * x),
    "cautious": (
        decays.cautious(LAMBDA),
        lambda x, u, η: np.where(u * x >= 0, x * (1 - η * LAMBDA), x) - η * u,
    ),
    "proximal": (decays.proximal(LAMBDA), lambda x, u, η: (x - η * u) / (1 + η * LAMBDA)),
}


def path(tx, start=START, grads=GRADS):
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, start)
        state, found = tx.init(params), []
        step = jax.jit(lambda *given: funcopt.step(tx, *given))
        for g in grads:
            params, state = step(jax.tree.map(jnp.asarray, g), state, params)
            found.append(jax.tree.map(np.asarray, params))
        return found


def same(ours, others, rtol=1e-13):
    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)

    jax.tree.map(close, ours, others)


@pytest.mark.parametrize("mode", MODES)
def test_the_decay_of_adam_is_that_of_numpy(mode):
    decay, moved = MODES[mode]
    x, slots, expected = dict(START), {leaf: {} for leaf in START}, []
    for t, grads in enumerate(GRADS, 1):
        for leaf, g in grads.items():
            step, slots[leaf] = adam(np.zeros_like(g), g, slots[leaf], t, 1.0)
            decays_here = leaf == "kernel"
            η = rate(t)
            x[leaf] = moved(x[leaf], -step, η) if decays_here else x[leaf] + η * step
        expected.append(dict(x))
    same(path(funcopt.adamw(SCHEDULE, weight_decay=decay, mask="kernel")), expected)
    plain = path(funcopt.adamw(SCHEDULE, weight_decay=LAMBDA, mask="kernel"))
    if mode != "decoupled":
        assert np.abs(plain[-1]["kernel"] - expected[-1]["kernel"]).max() > 1e-3


def test_l2_is_a_part_of_the_gradient():
    l2 = funcopt.chain(funcopt.add_decayed_weights(LAMBDA, mask="kernel"), funcopt.adam(0.1))
    same(path(funcopt.adamw(0.1, weight_decay=decays.l2(LAMBDA), mask="kernel")), path(l2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (decays.decoupled(0.1), 0.1),
        (funcopt.Decay(0.1), 0.1),
        (decays.corrected(0.1, 0.05), 0.1),
        (decays.squared(2.0), 0.1),
        (decays.independent(0.005), 0.1),
        (decays.independent(funcopt.constant_schedule(0.005)), 0.1),
        (decays.l2(0.0), 0.0),
        (decays.cautious(0.0), 0.0),
        (decays.proximal(0.0), 0.0),
        (decays.decoupled(0.0, "after"), 0.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("factory", [funcopt.adamw, funcopt.lion])
def test_decays_that_are_the_same_at_a_constant_rate(factory, one, other):
    same(path(factory(0.05, weight_decay=one)), path(factory(0.05, weight_decay=other)), 1e-12)


# For each decay of RECORDS: the step s from x, decayed at the rate η of a leaf.
DECAYED = {
    "decoupled": lambda x, s, η: s - η * 0.1 * x,
    "after": lambda x, s, η: s - η * 0.1 * (x + s),
    "independent": lambda x, s, η: s - 0.1 * x,
    "corrected": lambda x, s, η: s - η * η.whole / 0.5 * 0.1 * x,
    "squared": lambda x, s, η: s - η**2 * 0.1 * x,
    "cautious": lambda x, s, η: np.where(s * x <= 0, s - η * 0.1 * x, s),
    "proximal": lambda x, s, η: (x + s) / (1 + η * 0.1) - x,
}
# What an optimizer does with a number, where that is not `decoupled`.
NUMBERS = {
    "adadelta": "l2",
    "adafactor": "independent",
    "adan": "proximal",
    "cocob": "l2",
    "dadapt_adagrad": "l2",
    "dadapt_sgd": "l2",
    "dog": "l2",
    "dowg": "l2",
    "madgrad": "l2",
    "momo": "proximal",
    "momo_adam": "proximal",
}
# Where a number is none of the decays, and why.
OWN = {
    "lamb": "it is a part of the direction whose length is set",
    "lars": "the ratio knows it",
    "mechanize": "it pulls on a factor",
    "nanochat_muon": "it is cautious, and the factor of the shape multiplies it",
    "novograd": "it is a part of the momentum",
    "kl_shampoo": "there is none at the first step",
    "soap": "there is none at the first step",
    "splus": "it goes through the factor of the shape, too",
    "stable_adamw": "it is shorter where the step is",
}
FIRST = {  # numbers at which the first step is felt
    **{each: {"estim_lr0": 0.4} for each in ("dadapt_adamw", "dadapt_adagrad", "dadapt_sgd")},
    "dog": {"init_step": ("learning_rate", 0.3)},
    "dowg": {"init_estim_sq_dist": 0.2},
    "prodigy": {"estim_lr0": 0.4},
    "schedule_free_radam": {"b1": 1e-9},  # the first rate is 0, and so is the weight of the step
}


class LeafRate(float):
    """The rate of a leaf, and that of the transformation."""

    whole: float

    def __new__(cls, rate, whole):
        self = super().__new__(cls, rate)
        self.whole = whole
        return self


def first_steps(name, grads=None, steps=1, **changes):
    """What an optimizer makes of a few gradients, and the rate in force."""
    if "otherwise_rate" in inspect.signature(getattr(funcopt, name)).parameters:
        changes = {"otherwise_rate": 0.25, **changes}
    with jax.enable_x64(True), jax.disable_jit():
        tx = made(name, **FIRST.get(name, {}), **changes)
        params = jax.tree.map(jnp.asarray, START)
        state, found = tx.init(params), []
        for g in GRADS[:steps] if grads is None else [grads]:
            given = {"value": 2.0, "hessian_diagonal": jax.tree.map(jnp.square, params)}
            updates, state = tx.update(jax.tree.map(jnp.asarray, g), state, params, **given)
            params = funcopt.apply_updates(params, updates)
            found.append({leaf: np.asarray(u) for leaf, u in updates.items()})
        whole = float(funcopt.current_lr(state))
        rest = changes.get("otherwise_rate", 1)
        rest = float(rest(0)) if callable(rest) else rest
        return found, {"kernel": LeafRate(whole, whole), "bias": LeafRate(rest * whole, whole)}


ALL_OF_THEM = ("adafactor", "adamw", "lars", "madgrad", "muon", "prodigy")  # each way of making one
WITH_DECAYS = [name for name in DECAYING if name not in ("add_decayed_weights", "mechanize")]


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=() if x in ALL_OF_THEM else pytest.mark.every_row) for x in WITH_DECAYS],
)
def test_a_decay_means_the_same_beside_every_optimizer(name):
    refused, _ = REFUSED.get(name, (set(), ""))
    [plain], η = first_steps(name, weight_decay=0.0)
    for each, decayed in DECAYED.items():
        if each in refused or name in ("momo", "momo_adam"):
            continue
        if name not in ALL_OF_THEM and each not in ("squared", "proximal"):
            continue
        [step], _ = first_steps(name, weight_decay=RECORDS[each], mask="kernel|bias")
        for leaf, x in START.items():
            expected = decayed(x, plain[leaf], η[leaf])
            np.testing.assert_allclose(step[leaf], expected, 1e-6, 1e-15, err_msg=each)
    if "l2" not in refused and NUMBERS.get(name) != "l2":
        grads = {leaf: g + 0.1 * START[leaf] for leaf, g in GRADS[0].items()}
        [step], _ = first_steps(name, weight_decay=RECORDS["l2"])
        same(step, first_steps(name, grads, weight_decay=0.0)[0][0], 1e-9)


@pytest.mark.parametrize("name", [name for name in WITH_DECAYS if name not in OWN])
def test_what_an_optimizer_does_with_a_number_is_one_of_the_decays(name):
    decay = RECORDS[NUMBERS.get(name, "decoupled")]
    steps, _ = first_steps(name, steps=3, weight_decay=decay, mask="kernel")
    others, _ = first_steps(name, steps=3, weight_decay=0.1, mask="kernel")
    same(steps, others, 1e-11)


def test_where_a_part_does_not_decay_the_step_is_as_without():
    for name in ("prodigy", "muon", "novograd", "madgrad"):
        [plain], _ = first_steps(name, weight_decay=0.0)
        [step], _ = first_steps(name, weight_decay=decays.squared(9.0), mask="kernel")
        np.testing.assert_array_equal(step["bias"], plain["bias"])
        assert np.abs(step["kernel"] - plain["kernel"]).max() > 1e-3


def constant(x):
    return funcopt.constant_schedule(x)


@pytest.mark.parametrize("schedule", [constant, lambda x: x * funcopt.on_plateau()])
@pytest.mark.parametrize("decay", [decays.proximal, decays.squared, decays.l2])
def test_a_decay_of_a_schedule(schedule, decay):
    """In the lift of rules, in that of tree rules, and at the rate of what is no matrix."""
    rates = {"otherwise_rate": constant(0.25)}
    for name, more in (("prodigy", {}), ("dog", {}), ("muon", rates)):
        ours, _ = first_steps(name, steps=3, weight_decay=decay(schedule(0.5)), **more)
        same(ours, first_steps(name, steps=3, weight_decay=decay(0.5))[0], 1e-6)


def test_lars_with_l2_is_optax_s():
    changes = {"weight_decay": 0.1, "variant": "optax"}
    steps, _ = first_steps("lars", steps=3, weight_decay=decays.l2(0.1))
    same(steps, first_steps("lars", steps=3, **changes)[0], 1e-11)


def test_the_rest_of_muon_decays_by_its_own_rate_also_where_it_is_given():
    rest = (funcopt.rules.Adam(), decays.squared(0.1))
    tx = funcopt.muon(0.5, otherwise=rest, otherwise_rate=0.25)
    plain = funcopt.muon(0.5, otherwise=rest[:1], otherwise_rate=0.25)
    params, grads = {"bias": jnp.array([8.0])}, {"bias": jnp.ones(1)}
    [step, without] = [each.update(grads, each.init(params), params)[0] for each in (tx, plain)]
    np.testing.assert_allclose(without["bias"] - step["bias"], [(0.5 * 0.25) ** 2 * 0.8], 1e-5)


def test_l2_is_decoupled_where_the_direction_is_the_gradient():
    def sgd(decay):
        return funcopt.optimizer(funcopt.rules.Scale(1.0), decay, learning_rate=0.05)

    same(path(sgd(decays.l2(0.1))), path(sgd(decays.decoupled(0.1))))


def test_adan_divides_by_default():
    plain = path(funcopt.adan(0.05, weight_decay=0.3))
    same(plain, path(funcopt.adan(0.05, weight_decay=decays.proximal(0.3))))
    others = path(funcopt.adan(0.05, weight_decay=decays.decoupled(0.3)))
    assert np.abs(others[-1]["kernel"] - plain[-1]["kernel"]).max() > 1e-3


def test_cautious_decay_never_acts_against_the_step():
    """Where the step moves away from zero it is the step alone."""
    tx = funcopt.optimizer(decays.cautious(0.5), learning_rate=1.0)
    params = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0])
    grads = jnp.array([0.25, -0.25, -0.25, 0.25, 0.0])
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates, [-0.75, 0.75, 0.25, -0.25, -0.5])


@pytest.mark.parametrize("mode", MODES)
def test_a_skipped_step_decays_nothing(mode):
    tx = funcopt.guard(funcopt.adamw(0.1, weight_decay=MODES[mode][0]))
    params = {"w": jnp.array([1.0, -2.0])}
    bad = {"w": jnp.array([jnp.nan, 1.0])}
    after, _ = funcopt.step(tx, bad, tx.init(params), params)
    np.testing.assert_array_equal(after["w"], params["w"])


def test_where_the_rate_is_zero_an_independent_decay_goes_on():
    tx = funcopt.adamw(0.0, weight_decay=decays.independent(0.25))
    params = jnp.array([4.0])
    after, _ = funcopt.step(tx, jnp.ones(1), tx.init(params), params)
    np.testing.assert_array_equal(after, [3.0])


@pytest.mark.parametrize("mode", MODES)
def test_an_optimizer_with_a_decay_is_a_value(mode):
    decay, _ = MODES[mode]
    tx = funcopt.adamw(0.1, weight_decay=decay)
    assert eval(repr(tx), dict(vars(funcopt))) == tx
    assert hash(tx) == hash(funcopt.adamw(0.1, weight_decay=decay))
    assert tx != funcopt.adamw(0.1, weight_decay=0.7)
    assert jax.tree.leaves(tx)[-1] in (LAMBDA, 0.07, LARGEST)
    assert jax.tree.map(lambda x: x, tx) == tx


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (decays.cautious, (-1.0,), "weight_decay must be a finite number >= 0"),
        (decays.corrected, (0.1, 0.0), "max_learning_rate must be a finite number > 0"),
        (decays.decoupled, (0.1, "later"), "when must be one of before, after, got 'later'"),
        (funcopt.adamw, {"weight_decay": -1.0}, "weight_decay must be a finite number >= 0"),
        (funcopt.adamw, {"weight_decay": "cautious"}, "or a decay such as funcopt.decays.cautious"),
        (funcopt.adamw, {"weight_decay": funcopt.Momentum(0.9)}, "or a decay such as"),
    ],
)
def test_what_is_no_decay(make, given, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make(0.1, **given) if isinstance(given, dict) else make(*given)
