"""What factories share is the same in all of them: decay, masks, storage, and what chooses."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import funcopt
from funcopt import decays
from funcopt.arguments import Real
from funcopt.core.paths import Mask
from funcopt.core.record import annotations, choices, parts, static_fields
from funcopt.rules import Rule, TreeRule
from funcopt.transforms.decay_rules import DecayAmong
from tests.typed_calls import arguments_of, factories

NAMES = {thing.__name__: thing for thing in factories().values()}
GIVEN = {  # where an argument that is no number has to be given
    "base_optimizer": funcopt.sgd(0.1),
    "direction": funcopt.identity(),
    "every": 2,
    "factors": {"": 0.5},
    "inner": funcopt.sgd(0.1),
    "projection": jnp.abs,
    "layers": 2,
    "transforms": {"": funcopt.sgd(0.1)},
}
ONE_OF = {"average": {"decay": 0.9}}
TRANSFORMATIONS = [
    name
    for name, each in NAMES.items()
    if inspect.signature(each).return_annotation.meaning is funcopt.GradientTransformation
]


def made(name: str, **further: Any) -> funcopt.GradientTransformation:
    """A call with what is needed, and `further` arguments."""
    needed = [key for key, each in arguments_of(NAMES[name]).items() if each.needed]
    arguments = {key: GIVEN.get(key, 0.5) for key in needed}
    return NAMES[name](**arguments | ONE_OF.get(name, {}) | further)


def parameters_of(factory: Callable) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(factory).parameters)


def optax_s(name: str) -> dict[str, inspect.Parameter]:
    """The parameters of what optax calls so; none where it has no such algorithm."""
    name = {"schedule_free_radam": "schedule_free_adamw"}.get(name, name)  # told as that one
    theirs = getattr(optax, name, None) or getattr(optax.contrib, name, None)
    return parameters_of(theirs) if theirs else {}


DECAYING = [name for name in TRANSFORMATIONS if "weight_decay" in parameters_of(NAMES[name])]
OPTAX_CALLS = {"weight_decay_mask": "mask", "weight_decay_rate": "weight_decay"}
# Decay without a mask, and why.
UNMASKED = {"mechanize": "it pulls on the one factor of all steps, of which there are no parts"}
# Decay that is on by default where optax has no such algorithm, and why.
BY_DEFAULT = {
    "adamuon": (0.01, "its authors' default"),
    "dion2": (0.01, "its authors' default"),
    "scion": (1.0, "its authors' default: parameters stay in a ball"),
    "kl_shampoo": (0.01, "its authors' default"),
    "soap": (0.01, "its authors' default"),
    "splus": (0.01, "its authors' default"),
    "stable_adamw": (0.01, "PyTorch's default of AdamW, which it is a variant of"),
}


RECORDS = {
    "l2": decays.l2(0.1),
    "decoupled": decays.decoupled(0.1),
    "after": decays.decoupled(0.1, "after"),
    "independent": decays.independent(0.1),
    "corrected": decays.corrected(0.1, 0.5),
    "squared": decays.squared(0.1),
    "cautious": decays.cautious(0.1),
    "proximal": decays.proximal(0.1),
}
# Decays that an optimizer refuses, and why.
FOUND_RATE = ({"corrected"}, "the rate is found in training")
SUMMED = ({*RECORDS} - {"l2"}, "the next step puts back what a decay takes")
MODEL = ({*RECORDS} - {"proximal"}, "a model of the loss that has this decay in it")
REFUSED = {
    "add_decayed_weights": ({*RECORDS}, "weight_decay must be a finite number"),
    "cocob": SUMMED,
    "dadapt_adagrad": SUMMED,
    "dadapt_adamw": FOUND_RATE,
    "dadapt_sgd": SUMMED,
    "dog": FOUND_RATE,
    "dowg": FOUND_RATE,
    "mechanize": ({*RECORDS}, "pulls on the factor that it learns"),
    "momo": MODEL,
    "momo_adam": MODEL,
    "prodigy": FOUND_RATE,
}


@pytest.mark.parametrize("name", DECAYING)
def test_every_optimizer_that_decays_takes_every_decay_or_says_why_not(name):
    refused, why = REFUSED.get(name, (set(), ""))
    for each, decay in RECORDS.items():
        if each in refused:
            with pytest.raises((ValueError, TypeError), match=why):
                made(name, weight_decay=decay)
        else:
            assert made(name, weight_decay=decay).arguments["weight_decay"] == decay
    with pytest.raises((ValueError, TypeError), match="weight_decay must be"):
        made(name, weight_decay=-1.0 if name != "add_decayed_weights" else jnp.nan)


def test_a_mask_stands_beside_every_decay():
    without = {name for name in DECAYING if "mask" not in parameters_of(NAMES[name])}
    assert without == set(UNMASKED)


@pytest.mark.parametrize("name", DECAYING)
def test_decay_is_told_in_the_same_way(name):
    ours, theirs = parameters_of(NAMES[name]), optax_s(name)
    told = annotations(inspect.unwrap(NAMES[name]))
    if "weight_decay" in theirs:
        assert ours["weight_decay"].default == theirs["weight_decay"].default
    else:
        assert ours["weight_decay"].default == BY_DEFAULT.get(name, (0.0,))[0]
    if name == "add_decayed_weights":  # a building block may also push away from zero
        assert told["weight_decay"] == Real
    else:
        check = parts(told["weight_decay"])[1][0]
        assert isinstance(check, DecayAmong)
        assert check.optional == (ours["weight_decay"].default is None)
    if name in UNMASKED:
        return
    assert told["mask"] == Mask
    assert ours["mask"].default is None
    order, names = list(ours), [OPTAX_CALLS.get(each, each) for each in theirs]
    after = order[order.index("weight_decay") + 1]
    if "mask" in names:
        assert order.index("mask") == names.index("mask")
    elif after != "mask":  # optax has an argument of its own there, and no mask
        assert names[names.index("weight_decay") + 1] == after
        assert ours["mask"].kind is inspect.Parameter.KEYWORD_ONLY


# Slots without a storage of their own, and why.
UNSTORED = {
    "accumulate": "the mean of gradients in the making, as wide as the arithmetic",
    "rollback": "a snapshot, of parameters and state as they are",
}


def test_whoever_has_slots_takes_storage():
    params = {"blocks": [{"kernel": jnp.ones((3, 5))}]}

    def has_slots(name: str) -> bool:
        state = jax.eval_shape(made(name).init, params)
        return any({3, 5} & set(x.shape) for x in jax.tree.leaves(state))

    takes = {name for name in TRANSFORMATIONS if "storage" in parameters_of(NAMES[name])}
    assert {name for name in TRANSFORMATIONS if has_slots(name)} - takes == set(UNSTORED)


@pytest.mark.parametrize(
    "name", [name for name in TRANSFORMATIONS if "storage" in parameters_of(NAMES[name])]
)
def test_storage_is_told_in_the_same_way(name):
    last = list(parameters_of(NAMES[name]).values())[-1]
    assert (last.name, last.kind, last.default) == ("storage", last.KEYWORD_ONLY, None)
    with pytest.raises((TypeError, ValueError), match=f"{name}: storage must be"):
        made(name, storage="int7")


def rules_in(x: Any) -> Iterator[Any]:
    if isinstance(x, funcopt.GradientTransformation):
        yield from rules_in(x.body())
    if isinstance(x, Rule | TreeRule):
        yield x
    if is_dataclass(x):
        yield from (rule for each in fields(x) for rule in rules_in(getattr(x, each.name)))
    if isinstance(x, tuple):
        yield from (rule for each in x for rule in rules_in(each))


CHOICES = [
    (name, rule, field)
    for name in TRANSFORMATIONS
    for rule in rules_in(made(name))
    for field in static_fields(type(rule))
    if field in parameters_of(NAMES[name])
]


def bare(kind: type, values: dict[str, Any]) -> None:
    """What a class checks by itself: in tests, annotations are checked before it."""
    rule = object.__new__(kind)
    vars(rule).update(values)
    rule.__post_init__()


def said(call: Callable, *args: Any, **kwargs: Any) -> tuple[type, str]:
    """Which error it raises, and its words after the name of what was called."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*args, **kwargs)
    return caught.type, str(caught.value).partition(": ")[2]


WRONG = {"number": 0.5, "object": object(), "text": "nope"}
TAKEN = {("text", "mask"), ("text", "axis_name"), ("number", "fraction")}  # which these are


@pytest.mark.parametrize(
    ("name", "rule", "field"),
    CHOICES,
    ids=[f"{c[0]}-{type(c[1]).__name__}-{c[2]}" for c in CHOICES],
)
def test_a_rule_refuses_a_choice_as_its_factory_does(name, rule, field):
    values = {each.name: getattr(rule, each.name) for each in fields(rule)}
    for what, wrong in WRONG.items():
        if (what, field) in TAKEN:
            continue
        theirs = said(bare, type(rule), values | {field: wrong})
        assert said(made, name, **{field: wrong}) == theirs


def kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield from kinds(kind)
        if kind.__module__.startswith("funcopt."):
            yield kind


vars(funcopt)  # loads every class
OTHERS = funcopt.rules.Adam(), funcopt.rules.Eigenbasis()
KINDS = sorted({*kinds(Rule), *kinds(TreeRule)}, key=lambda kind: kind.__name__)


def usual(kind: type) -> dict[str, Any]:
    """Values that the class takes, its defaults where it has them."""
    told = annotations(kind)
    left = {
        each.name: iter(
            [*(choices(told[each.name]) or ()), None, 0.5, 2, True, (0.5,), abs, *OTHERS]
        )
        for each in fields(kind)
    }
    values = {
        each.name: next(left[each.name]) if each.default is MISSING else each.default
        for each in fields(kind)
    }
    while True:
        try:
            bare(kind, values)
        except (TypeError, ValueError) as error:
            refused = str(error).partition(": ")[2].partition(" ")[0]
            values[refused] = next(left[refused])
        else:
            return values


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_rule_class_checks_every_field(kind):
    for field in usual(kind):
        _, words = said(bare, kind, usual(kind) | {field: object()})
        assert words.startswith(f"{field} must be ")
