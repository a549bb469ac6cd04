"""The fields of a rule: what chooses is static and checked, however its annotation is written."""

import importlib.util
import textwrap

import jax
import jax.numpy as jnp
import pytest

import funcopt

RULE_FILE = """
    from __future__ import annotations

    from typing import Annotated, Literal, NamedTuple

    from jaxtyping import Array, Float

    from funcopt import Accumulator, Clock, Rule, rule, transformation, optimizer
    from funcopt.arguments import Choice, DecayRate, Rate

    class Sizes(NamedTuple):
        nu: Accumulator

    @rule(acts_on="element", slots=Sizes)
    class Sized(Rule):
        decay: DecayRate = 0.9
        kind: Annotated[Literal["square", "abs"], Choice(("square", "abs"))] = "square"
        flipped: bool = False
        name: str = "sized"

        def init(self, param: Float[Array, "*p"]) -> Sizes:
            return Sizes(0 * param)

        def update(self, grad: Float[Array, "*p"], slots: Sizes, param, clock: Clock):
            size = grad**2 if self.kind == "square" else abs(grad)
            slots = clock.renew(slots, nu=self.decay * slots.nu + (1 - self.decay) * size)
            return -grad if self.flipped else grad, slots

    @transformation
    def sized(learning_rate: Rate, decay: DecayRate = 0.9):
        return optimizer(Sized(decay), learning_rate=learning_rate)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A rule file whose annotations are strings."""
    path = tmp_path_factory.mktemp("rules") / "sized.py"
    path.write_text(textwrap.dedent(RULE_FILE))
    spec = importlib.util.spec_from_file_location("sized", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, "sized", module)
        spec.loader.exec_module(module)
        yield module


def test_a_rule_with_string_annotations(written):
    assert jax.tree.leaves(written.Sized()) == [0.9]
    tx, grads = written.sized(0.5), {"w": jnp.array([2.0])}
    updates, state = jax.jit(tx.update)(grads, tx.init(grads))
    assert float(updates["w"][0]) == -1.0
    assert float(state.nu["w"][0]) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="decay must be"):
        written.sized(0.5, decay=2.0)


def test_a_rule_checks_what_chooses_when_it_is_made(written):
    with pytest.raises(ValueError, match="kind must be one of square, abs, got 'cube'"):
        written.Sized(kind="cube")
    with pytest.raises(TypeError, match="flipped must be True or False, got 'yes'"):
        written.Sized(flipped="yes")


@pytest.mark.parametrize("kind", [funcopt.rules.Amsgrad, funcopt.rules.Nadam])
def test_the_variants_of_a_rule_are_those_of_its_factory(kind):
    with pytest.raises((ValueError, TypeError), match="variant"):
        kind(variant="nope")


def test_only_rules_go_into_masked():
    with pytest.raises(TypeError, match=r"masked takes a rule.*funcopt\.partition"):
        funcopt.masked("embed", funcopt.scale(0.1))  # type: ignore[arg-type]


@pytest.mark.parametrize("read", [funcopt.metrics, funcopt.current_lr])
def test_a_transformation_is_no_state(read):
    with pytest.raises(TypeError, match=r"takes a state, got the transformation adam"):
        read(funcopt.adam(0.1))


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.adamw(0.1, mask="kernle"),
        funcopt.guard(funcopt.chain(funcopt.clip(1.0), funcopt.lion(0.1, mask="kernle"))),
        funcopt.prodigy(mask="kernle"),
        funcopt.dog(mask="kernle"),
        funcopt.stable_adamw(0.1, mask="kernle"),
        funcopt.schedule_free_sgd(mask="kernle"),
    ],
    ids=str,
)
def test_a_mask_that_means_nothing_is_told_before_training(tx):
    with pytest.raises(ValueError, match="pattern 'kernle' matches no parameter"):
        tx.init({"kernel": jnp.ones(2)})
