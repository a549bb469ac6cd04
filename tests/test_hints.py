"""What is said to those who write what another library would take."""

import re

import pytest

import funcopt


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: funcopt.adam(lr=1e-3), "unknown argument 'lr' (PyTorch's lr is learning_rate). "),
        (lambda: funcopt.adam(1e-3, betas=(0.9, 0.99)), "betas=(a, b) are b1=a, b2=b"),
        (lambda: funcopt.sgd(1e-3, maximize=True), "give the gradients with a minus"),
        (lambda: funcopt.adam(1e-3, fused=True), "leave fused out"),
        (lambda: funcopt.adamw(1e-3, weight_decya=0.1), "did you mean weight_decay?"),
        (lambda: funcopt.adam(1e-3).replace(lr=0.1), "PyTorch's lr is learning_rate"),
        (lambda: funcopt.adamw({"w": 0.1, "b": 1.0}), "funcopt.partition({"),
        (lambda: funcopt.adamw([0.1, 1.0]), "funcopt.partition({"),
    ],
)
def test_hints(call, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        call()


def test_no_hint_where_it_would_not_help():
    with pytest.raises(TypeError, match=r"unknown argument 'lr'\. Its arguments are max_norm"):
        funcopt.clip_by_global_norm(lr=1.0)


@pytest.mark.parametrize("value", [funcopt.adam(1e-3), funcopt.guard(funcopt.sgd(0.1))])
def test_arguments_are_no_attributes(value):
    name = next(iter(value.arguments))
    with pytest.raises(AttributeError, match=re.escape(f".arguments['{name}']")):
        getattr(value, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        value.nothing  # noqa: B018
    assert not hasattr(value, name)


def test_schedules_too():
    with pytest.raises(AttributeError, match=r"\.replace\(decay_steps=\.\.\.\)"):
        funcopt.cosine_decay_schedule(1.0, 10).decay_steps  # noqa: B018
