"""Where public names are: algorithms at the top, their rules in `funcopt.rules`."""

import pytest

import funcopt


@pytest.mark.parametrize(
    "module",
    [funcopt, funcopt.rules, funcopt.schedules, funcopt.arguments, funcopt.wrappers],
    ids=lambda module: module.__name__,
)
def test_everything_public_is_there(module):
    names = getattr(module, "__all__", [])
    assert all(hasattr(module, name) for name in names)
    assert len(names) == len(set(names))


def test_no_two_public_names_differ_by_case_only():
    assert len({name.lower() for name in funcopt.__all__}) == len(funcopt.__all__) - 3
    both = {name for name in funcopt.__all__ if name[0].isupper() and name.lower() in vars(funcopt)}
    assert both == {"Health", "Rule", "Schedule"}  # a result, and two bases beside decorators


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, f"funcopt.rules.{name}") for name in ("Adam", "Clip", "Scale", "Descend", "Spam")),
        *(
            (name, f"funcopt.schedules.{name}")
            for name in ("total", "product", "clipped", "shifted")
        ),
        ("where", "funcopt.masked"),
        ("Wrapper", "funcopt.wrappers.Wrapper"),
    ],
)
def test_a_name_that_is_elsewhere_says_where(name, place):
    with pytest.raises(AttributeError, match=place):
        getattr(funcopt, name)
    assert not hasattr(funcopt, name)
    assert name not in funcopt.__all__


def test_a_name_that_does_not_exist_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'funcopt' has no attribute 'adm'"):
        funcopt.adm  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


@funcopt.rule(acts_on="element")
class Damp(funcopt.Rule):
    factor: funcopt.arguments.Real = 0.5

    def update(self, grad, slots, param, clock):
        del param, clock  # damping looks only at the gradient
        return self.factor * grad, slots


class Adam(Damp):
    """A user's class of a name that is taken in `funcopt.rules`."""


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.lift(funcopt.rules.Clip(1.0), funcopt.masked("kernel$", funcopt.rules.Scale(0.5))),
        funcopt.optimizer(
            funcopt.rules.Nadam(variant="pytorch"),
            funcopt.masked({"kernel": True, "bias": False}, funcopt.Decay(0.1)),
            learning_rate=funcopt.schedules.product(funcopt.linear_to_zero(1.0, 10), 0.1),
        ),
        funcopt.optimizer(funcopt.Rms(), funcopt.Momentum(0.9), learning_rate=0.1),
    ],
    ids=repr,
)
def test_a_chain_prints_as_the_call_that_makes_it(tx):
    assert eval(repr(tx), dict(vars(funcopt))) == tx


def test_rules_print_where_they_are():
    assert repr(funcopt.rules.Scale(0.5)) == "rules.Scale(step_size=0.5)"
    assert repr(funcopt.Momentum(0.9)) == "rules.Momentum(decay=0.9, nesterov=False)"
    assert repr(Damp()) == "Damp(factor=0.5)"
    assert repr(Adam(0.25)) == "Adam(factor=0.25)"
