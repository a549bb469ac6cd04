"""The fields of a rule: what chooses is static and checked, however its annotation is written."""

import importlib.util
import sys
import textwrap
from dataclasses import field
from enum import Enum
from types import ModuleType
from typing import Annotated, Any, Literal, Optional

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
        patch.setitem(sys.modules, "sized", module)
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


class Side(Enum):
    LEFT = 1
    RIGHT = 2


@funcopt.rule(acts_on="element")
class Chosen(funcopt.Rule):
    factor: funcopt.arguments.Real = 0.5
    how: Literal["mean", "sum"] | None = None
    name: Annotated[str, "what it is called"] = "chosen"
    side: Side = Side.LEFT
    maybe: Optional[bool] = None  # noqa: UP045  what older programs write
    size: int = field(default=1, metadata={"static": True})
    free: float | None = 2.0


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (funcopt.rules.Adam, {"b1": "x"}, r"Adam: b1 must be a number in \[0, 1\)"),
        (funcopt.rules.Adam, {"eps": -1.0}, r"Adam: eps must be"),
        (funcopt.Momentum, {"decay": 2.0}, r"Momentum: decay must be .*, got 2\.0"),
        (funcopt.rules.Spam, {"reset_interval": 0}, r"Spam: reset_interval must be an integer"),
        (Chosen, {"how": 1.0}, r"Chosen: how must be 'mean' or 'sum' or None, got 1\.0"),
        (Chosen, {"how": "max"}, r"Chosen: how must be 'mean' or 'sum' or None, got 'max'"),
        (Chosen, {"name": 0.5}, r"Chosen: name must be str, got 0\.5"),
        (Chosen, {"side": 1}, r"Chosen: side must be Side, got 1"),
        (Chosen, {"maybe": 0.5}, r"Chosen: maybe must be bool or None, got 0\.5"),
        (Chosen, {"size": jnp.ones(2)}, r"Chosen: size belongs to the structure.*no arrays"),
    ],
)
def test_a_rule_class_checks_its_fields_as_a_factory_does(kind, settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        kind(**settings)


def test_what_chooses_is_static_however_it_is_annotated():
    assert jax.tree.leaves(Chosen()) == [0.5, 2.0]
    assert jax.tree.leaves(Chosen(how="sum", side=Side.RIGHT, maybe=True, size=3)) == [0.5, 2.0]
    assert jax.tree.structure(Chosen(how="sum")) != jax.tree.structure(Chosen(how="mean"))


def test_a_tree_of_a_rule_holds_anything():
    """Only what a program makes by a call is checked: JAX fills trees with what is no number."""
    assert jax.tree.map(lambda _: None, Chosen()).factor is None
    assert jax.tree.map(lambda x: "a leaf", funcopt.rules.Adam()).b1 == "a leaf"


STRINGS = """
    from __future__ import annotations

    from typing import TYPE_CHECKING, Annotated, Literal

    import funcopt
    from funcopt import Rule, rule

    if TYPE_CHECKING:
        from typing import Literal as Named

    @rule(acts_on="element")
    class Base(Rule):
        how: Literal["mean", "sum"] | None = "mean"
        flag: bool | None = None
        name: "Annotated[str, 'its name']" = "base"
        unknown: Named["a", "b"] = "a"
        factor: funcopt.arguments.Real = 0.5

    @rule(acts_on="element")
    class Further(Base):
        scale: funcopt.arguments.Real = 2.0
"""


def test_strings_that_annotate_tell_what_is_static():
    module: Any = ModuleType("strings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "strings", module)
        exec(textwrap.dedent(STRINGS), vars(module))
        assert jax.tree.leaves(module.Base()) == [0.5]
        assert jax.tree.leaves(module.Further(how=None)) == [0.5, 2.0]
        with pytest.raises(TypeError, match="Further: flag must be bool or None, got 1"):
            module.Further(flag=1)
        with pytest.raises(TypeError, match=r"Bad: how is annotated 'Named'.*TYPE_CHECKING"):
            exec('@rule(acts_on="element")\nclass Bad(Rule):\n    how: "Named"', vars(module))


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
