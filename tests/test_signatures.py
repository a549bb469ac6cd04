"""What `help` prints of the package, and what `from funcopt import *` brings."""

import inspect
import pydoc
import re
from pathlib import Path
from typing import get_type_hints

import pytest

import funcopt
import funcopt.lab
from funcopt.arguments import Rate

MODULES = [funcopt, funcopt.lab, funcopt.schedules]
PUBLIC = {name: getattr(module, name) for module in MODULES for name in module.__all__}
CALLABLE = sorted(name for name, thing in PUBLIC.items() if callable(thing))
LONGEST = 60  # characters of a signature for each of its parameters
UNREADABLE = re.compile(r"Annotated|ForwardRef|Within|Choice|<function|\b_\w+\.")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_names_what_is_imported(module):
    source = Path(module.__file__).read_text()
    imported = re.findall(r"\b(\w+) as \1\b", source)
    assert sorted(module.__all__) == sorted(imported), "add what is missing to __all__"


@pytest.mark.parametrize("name", CALLABLE)
def test_a_signature_can_be_read(name):
    signature = inspect.signature(PUBLIC[name])
    assert not UNREADABLE.search(str(signature))
    assert len(str(signature)) <= LONGEST * max(3, len(signature.parameters))


def test_help_of_a_factory():
    text = pydoc.render_doc(funcopt.adam, renderer=pydoc.plaintext)
    assert "adam(learning_rate: Rate, b1: DecayRate = 0.9, b2: DecayRate = 0.999," in text
    assert "nesterov: Flag = False" in text
    assert "-> GradientTransformation" in text


def test_help_of_a_rule():
    text = pydoc.render_doc(funcopt.rules.Adam, renderer=pydoc.plaintext)
    assert "Adam(b1: DecayRate = 0.9" in text
    assert "arxiv.org" in text  # its module's text, where the class has none of its own
    assert max(map(len, text.splitlines())) <= 200


def test_choices_are_spelt_out():
    assert "mode: 'min' | 'max' = 'min'" in str(inspect.signature(funcopt.on_plateau))


def test_help_of_the_package_lists_its_functions():
    text = pydoc.render_doc(funcopt, renderer=pydoc.plaintext)
    for name in ("adam", "guard", "health", "step", "cosine_decay_schedule"):
        assert re.search(rf"^    {name}\(", text, re.M)


def test_checkers_read_the_aliases_themselves():
    assert get_type_hints(funcopt.adam, include_extras=True)["learning_rate"] == Rate
    shown = inspect.signature(funcopt.adam).parameters["learning_rate"].annotation
    assert shown.meaning == Rate
