"""The learning rate is replaced, and read, through any nesting."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt

FOREIGN = optax.identity()
PARAMS = {"kernel": jnp.ones(2), "bias": jnp.zeros(2)}


def inside(tx):
    return funcopt.chain(funcopt.clip_by_global_norm(1.0), tx, FOREIGN)


NESTINGS = {
    "itself": lambda tx: tx,
    "chain": inside,
    "chain of a chain": lambda tx: inside(inside(tx)),
    "guard": funcopt.guard,
    "skip_nonfinite": funcopt.skip_nonfinite,
    "monitor": lambda tx: funcopt.monitor(funcopt.guard(inside(tx))),
    "accumulate": lambda tx: funcopt.accumulate(tx, 3),
    "rollback": lambda tx: funcopt.rollback(funcopt.guard(tx)),
    "loss_scale": funcopt.loss_scale,
    "mechanize": funcopt.mechanize,
    "schedule_free": funcopt.schedule_free,
    "schedule_free with a rate": lambda tx: funcopt.schedule_free(tx, 0.5),
    "gpa": funcopt.gpa,
    "ema_nesterov": funcopt.ema_nesterov,
    "partition": lambda tx: funcopt.partition({"kernel": tx, "bias": None}),
}
RATES = [0.5, jnp.float32(0.5), funcopt.linear_schedule(0.5, 0.0, 10)]


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("old", RATES[::2], ids=["number", "schedule"])
def test_the_rate_is_replaced_through_every_nesting(nesting, old):
    tx = NESTINGS[nesting](funcopt.adam(old, b1=0.8))
    replaced = funcopt.with_rate(tx, 0.25)
    wanted = NESTINGS[nesting](funcopt.adam(0.25, b1=0.8))
    if "with a rate" in nesting:
        tx, wanted = tx.replace(learning_rate=old), wanted.replace(learning_rate=0.25)
    assert replaced == wanted
    assert float(funcopt.current_lr(replaced.init(PARAMS))) == 0.25
    assert funcopt.with_rate(replaced, old) == tx


@pytest.mark.parametrize("make", [funcopt.descend, funcopt.scale_by_learning_rate])
def test_a_direction_with_a_descent_at_its_end(make):
    tx = funcopt.chain(funcopt.scale_by_adam(), make(0.1))
    assert funcopt.with_rate(tx, 0.5) == funcopt.chain(funcopt.scale_by_adam(), make(0.5))
    rules = funcopt.optimizer(funcopt.rules.Adam(), funcopt.Decay(0.1), learning_rate=0.1)
    assert funcopt.with_rate(rules, 0.5) == rules.replace(learning_rate=0.5)
    hyper = funcopt.hypergradient(funcopt.identity(), 0.1)
    assert funcopt.with_rate(hyper, 0.5) == hyper.replace(learning_rate=0.5)


def groups(kernel, rest):
    return funcopt.guard(funcopt.partition({"kernel": funcopt.sgd(kernel), "": inside(rest)}))


def test_all_groups_get_the_rate_or_keep_their_ratios():
    tx = groups(0.5, funcopt.adam(0.125))
    assert funcopt.with_rate(tx, 0.25) == groups(0.25, funcopt.adam(0.25))
    kept = funcopt.with_rate(tx, 0.25, keep_ratios=True)
    assert kept == groups(0.25, funcopt.adam(0.0625))
    same = groups(RATES[2], funcopt.adam(RATES[2]))
    assert funcopt.with_rate(same, 0.1, keep_ratios=True) == groups(0.1, funcopt.adam(0.1))
    with pytest.raises(ValueError, match="schedules that differ"):
        funcopt.with_rate(groups(RATES[2], funcopt.adam(0.1)), 0.1, keep_ratios=True)
    frozen = funcopt.partition({"kernel": funcopt.sgd(0.1), "bias": funcopt.identity()})
    assert funcopt.with_rate(frozen, 0.5).arguments["transforms"]["bias"] == funcopt.identity()


def test_inside_of_jit_the_rate_may_be_traced():
    tx = groups(0.5, funcopt.adam(0.125))

    @jax.jit
    def start(rate):
        return funcopt.current_lr(funcopt.with_rate(tx, rate).init(PARAMS))

    assert float(start(0.25)) == 0.25


@pytest.mark.parametrize(
    ("tx", "error", "words"),
    [
        (funcopt.clip(1.0), ValueError, "no learning rate"),
        (funcopt.guard(optax.adam(1e-3)), ValueError, "no learning rate"),
        (optax.adam(1e-3), TypeError, "lambda rate"),
        (funcopt.adam, TypeError, "expected a transformation"),
        (funcopt.chain(funcopt.sgd(0.1), inside(funcopt.sgd(0.1))), ValueError, "2 learning rates"),
        (
            funcopt.partition({"kernel": funcopt.sgd(0.1), "bias": optax.sgd(0.1)}),
            ValueError,
            "group 'bias'",
        ),
    ],
)
def test_what_has_no_rate_to_replace(tx, error, words):
    with pytest.raises(error, match=words):
        funcopt.with_rate(tx, 0.1)


def test_a_bad_rate_names_its_argument():
    with pytest.raises(ValueError, match="sgd: learning_rate must be"):
        funcopt.with_rate(funcopt.guard(funcopt.sgd(0.1)), -1.0)


# -- what groups report ---------------------------------------------------------------------------


def test_rates_of_groups_have_their_labels():
    tx = groups(0.5, funcopt.adam(0.125))
    state = tx.init(PARAMS)
    found = {name: float(x) for name, x in funcopt.metrics(state).items()}
    assert (found["lr/kernel"], found["lr/otherwise"]) == (0.5, 0.125)
    words = r"2 learning rates that differ: lr/otherwise 0\.125, lr/kernel 0\.5"
    with pytest.raises(ValueError, match=words):
        funcopt.current_lr(state)
    assert np.isnan(jax.jit(funcopt.current_lr)(state))


def test_groups_in_groups_and_of_optax():
    within = funcopt.partition({"bias": funcopt.sgd(0.5), "": funcopt.sgd(0.25)})
    params = {"head": PARAMS, "body": PARAMS}
    tx = funcopt.partition({"head": within, "body": funcopt.sgd(1.0)})
    rates = {name: float(x) for name, x in funcopt.metrics(tx.init(params)).items()}
    assert rates == {"lr/head/bias": 0.5, "lr/head/otherwise": 0.25, "lr/body": 1.0}
    theirs = optax.partition(
        {"a": funcopt.sgd(0.5), "b": funcopt.sgd(0.25)}, {"kernel": "a", "bias": "b"}
    )
    assert set(funcopt.metrics(theirs.init(PARAMS))) == {"lr/a", "lr/b"}
    alone = funcopt.partition({"kernel": funcopt.sgd(0.5), "bias": None})
    assert set(funcopt.metrics(alone.init(PARAMS))) == {"lr"}


def test_two_rates_in_one_group_carry_their_paths():
    tx = funcopt.partition({"kernel": inside(funcopt.chain(*[funcopt.sgd(0.5)] * 2)), "bias": None})
    names = {name for name in funcopt.metrics(tx.init(PARAMS)) if name.endswith("lr")}
    assert names == {"kernel/1/0/lr", "kernel/1/1/lr"}


def test_a_rate_that_groups_share():
    tx = groups(RATES[2], funcopt.adam(RATES[2]))
    state = tx.init(PARAMS)
    _, state = tx.update(PARAMS, state, PARAMS)
    _, state = tx.update(PARAMS, state, PARAMS)
    rate = np.float32(0.45)
    assert funcopt.current_lr(state) == rate == jax.jit(funcopt.current_lr)(state)
    over = jax.vmap(lambda lr: funcopt.with_rate(tx, lr).init(PARAMS))(jnp.array([0.1, 0.2]))
    np.testing.assert_array_equal(funcopt.current_lr(over), np.float32([0.1, 0.2]))


def test_wrappers_do_not_report_what_a_group_reports_already():
    clipped = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.5))
    both = funcopt.partition({"kernel": clipped, "bias": clipped})
    for wrap in (funcopt.guard, funcopt.monitor):
        names = set(funcopt.metrics(wrap(both).init(PARAMS)))
        assert {"grad_norm/kernel", "grad_norm/bias", "lr/kernel", "lr/bias"} <= names
        assert "grad_norm" not in names
    assert "lr" not in funcopt.metrics(funcopt.mechanize(both).init(PARAMS))
    with pytest.raises(ValueError, match="reports 2 learning rates"):
        funcopt.schedule_free(both).init(PARAMS)
