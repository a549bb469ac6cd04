"""What README and docs/ name exists, and their tables have all their cells."""

from __future__ import annotations

import ast
import builtins
import fnmatch
import functools
import importlib
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import funcopt
import funcopt.arguments
import funcopt.lab
from funcopt import Rule
from funcopt.core.basis import PREFIX
from tests.test_docs import PAGES, ROOT, blocks, check_funcopt, options

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
SOURCES = [*ROOT.glob("funcopt/**/*.py"), *ROOT.glob("funcopt_cli/*.py")]
PLACES = (
    funcopt,
    funcopt.lab,
    funcopt.schedules,
    funcopt.arguments,
    optax,
    optax.contrib,
    jax,
    jnp,
    builtins,
)
# What is not installed here: PyTorch, the words for its objects, loggers; and
# what only a call inside of JAX names.
FOREIGN = {
    *("torch", "tensorboardX", "wandb", "check_vma"),
    *("optimizer", "scheduler", "scaler", "model", "clip_grad_norm_", "clip_grad_value_"),
    *("autocast", "DistributedDataParallel", "requires_grad_", "zero_grad", "param_groups"),
    *("state_dict", "load_state_dict", "backward", "alpha", "dampening", "maximize", "foreach"),
    *(
        "lr_decay",
        "beta2_decay",
        "fused",
        "capturable",
        "differentiable",
        "decoupled_weight_decay",
        "store_delta",
        "error_if_nonfinite",
    ),
    *("LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR"),
    *("ExponentialLR", "PolynomialLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
    *("OneCycleLR", "CyclicLR", "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"),
    *("GradScaler", "get_ema_multi_avg_fn", "t0"),
    *("corrected_weight_decay", "cautious_weight_decay", "fixed_decay", "decouple_decay"),
}


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def spans(page: Path) -> Iterator[str]:
    """What stands in backticks outside of code blocks."""
    for span in SPAN.findall(prose(page)):
        yield re.sub(r"\s+", " ", span.replace(r"\|", "|"))


def words_of(tree: ast.AST) -> set[str]:
    """Every identifier of a program, and every string that could be one."""
    found = set()
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, str) and each.isidentifier():
                    found.add(each)
    return found


@functools.cache
def words_of_the_package() -> frozenset[str]:
    trees = (ast.parse(path.read_text()) for path in SOURCES)
    optax_arguments = json.loads((ROOT / "docs" / "optax_signatures.json").read_text())[
        "parameters"
    ]
    vars(funcopt)  # loads every class
    slots = {
        name
        for each in Rule.__subclasses__()
        if isinstance(each.slots, type)
        for name in each.slots._fields
    }
    return frozenset().union(
        *map(words_of, trees),
        {f"{PREFIX}{name}" for name in slots},
        *optax_arguments.values(),
        dir(builtins),
        sys.stdlib_module_names,
    )


@functools.cache
def frozen_cases() -> frozenset[str]:
    """The names of the frozen trajectories."""
    files = [json.loads(path.read_text()) for path in (ROOT / "tests" / "golden").glob("*.json")]
    cases = (case for file in files for case in file.get("cases", ()))
    return frozenset(case["name"] for case in cases if "name" in case)


@functools.cache
def words_of_the_tests() -> frozenset[str]:
    texts = (path.read_text() for path in (ROOT / "tests").glob("*.py"))
    return frozenset(word for text in texts for word in re.findall(r"def (test_\w+)", text))


def words_on(page: Path) -> set[str]:
    """The words of the page's own programs."""
    found: set[str] = set()
    for block in blocks(page):
        found |= set(re.findall(r"[A-Za-z_]\w*", block.code))
    return found


def resolved(dotted: str) -> object:
    """What `a.b.c` is: of funcopt, of what funcopt and its users import, or nothing."""
    first, *rest = dotted.split(".")
    homes = [place for place in PLACES if hasattr(place, first)]
    if homes:
        found = getattr(homes[0], first)
    else:
        try:
            found = importlib.import_module(first)
        except ImportError:
            return None
    for name in rest:
        if not hasattr(found, name) and inspect.ismodule(found):
            try:
                importlib.import_module(f"{found.__name__}.{name}")
            except ImportError:
                return None
        if not hasattr(found, name):
            return None
        found = getattr(found, name)
    return found


def faults(span: str, own: set[str]) -> Iterator[str]:
    """What is wrong with a span of code, `own` being the words that the page itself defines."""
    if span.startswith(("funcopt ", "--")):
        yield from command_faults(span)
    elif (len(span) < 256 and (ROOT / span).is_file()) or fnmatch.filter(frozen_cases(), span):
        return
    elif "/" in span and not re.search(r"[\s(]", span):
        yield from path_faults(span, own)
    elif span.startswith("python -m "):
        module = span.split()[2].replace(".", "/")
        if not (ROOT / f"{module}.py").exists() and not (ROOT / module).is_dir():
            yield "no such module"
    elif span.endswith("_*"):
        if not any(word.startswith(span[:-1]) for word in words_of_the_package()):
            yield "nothing begins like this"
    elif (signature := re.fullmatch(r"([\w.]+)\((.*\*,.*)\)", span)) is not None:
        if resolved(signature[1]) is None:
            yield f"there is no {signature[1]}"
    elif re.search(r"\w\w", span) and not span.startswith("pip install"):
        for part in span.split(" -> "):
            tree = parsed(part)
            yield from ["this cannot be read"] if tree is None else code_faults(tree, own)


def command_faults(span: str) -> Iterator[str]:
    words = shlex.split(span)
    try:
        if words[0] == "funcopt":
            check_funcopt(words[1:], ROOT / "README.md")
        elif not any(words[0] in options(verb) for verb in VERBS):
            yield "no command has this option"
    except AssertionError as error:
        yield str(error)


VERBS = ("demo", "compare", "lr", "health", "sweep", "schedule", "list", "show", "describe")


def path_faults(span: str, own: set[str]) -> Iterator[str]:
    """A file of the repository is there, unless the page says how to write it."""
    if not (ROOT / span.split("/")[0]).is_dir():
        return  # a parameter's path, a fraction
    if not list(ROOT.glob(span)) and Path(span).stem not in own:
        yield "no such file"


def parsed(span: str) -> ast.AST | None:
    """A span as a program; `name=` and `name=value` are keyword arguments."""
    arguments = [f"_({span})", f"_({span}...)"]
    for code in [*arguments, span] if re.match(r"\w+=(?!=)", span) else [span, *arguments]:
        try:
            return ast.parse(code)
        except SyntaxError:
            continue
    return None


def code_faults(tree: ast.AST, own: set[str]) -> Iterator[str]:
    bound = own | FOREIGN | {"_"}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not known(node.id, bound):
            yield f"nothing is called {node.id!r}"
        elif isinstance(node, ast.Attribute):
            yield from attribute_faults(node, bound)
        elif isinstance(node, ast.Call):
            yield from call_faults(node, bound)


def known(name: str, bound: set[str]) -> bool:
    return (
        name in bound
        or name in words_of_the_package()
        or name in words_of_the_tests()
        or resolved(name) is not None
    )


def attribute_faults(node: ast.Attribute, bound: set[str]) -> Iterator[str]:
    dotted = ast.unparse(node)
    first = dotted.split(".")[0]
    if re.fullmatch(r"[\w.]+", dotted) and first not in bound - {"funcopt", "optax", "jax"}:
        # `tx.update` is of a value that has no name outside of the page.
        if (first in ("funcopt", "optax", "jax") or not known(first, bound)) and resolved(
            dotted
        ) is None:
            yield f"there is no {dotted}"
    elif first not in FOREIGN and not known(node.attr, bound):
        yield f"nothing is called {node.attr!r}"


def call_faults(node: ast.Call, bound: set[str]) -> Iterator[str]:
    """A call of a function that is known takes its arguments."""
    dotted = ast.unparse(node.func)
    if dotted == "_":  # arguments without their function
        for each in node.keywords:
            if each.arg and not known(each.arg, bound):
                yield f"nothing has an argument {each.arg!r}"
        return
    if not re.fullmatch(r"[\w.]+", dotted) or dotted.split(".")[0] in FOREIGN:
        return
    function = resolved(dotted)
    if function is None and dotted.isidentifier() and dotted not in bound | {"init", "update"}:
        yield f"nothing that is public is called {dotted!r}"
    if function is None or not callable(function) or inspect.isclass(function):
        return
    positional = [a for a in node.args if not (isinstance(a, ast.Constant) and a.value is ...)]
    keywords = {each.arg: None for each in node.keywords if each.arg}
    signature = inspect.signature(function)
    try:
        signature.bind_partial(*positional, **keywords)  # prose leaves out what goes without saying
    except TypeError as error:
        yield f"{dotted}: {error}"


@each_page
def test_names_in_backticks_exist(page):
    own = words_on(page)
    wrong = {span: list(faults(span, own)) for span in dict.fromkeys(spans(page))}
    assert {span: why for span, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    "span",
    [
        "dadapt_adam",
        "funcopt.dadapt_adam()",
        "gradients_beside(grads, params)",
        "no_such_thing(a, *, b=1)",
        "adam(1e-3",
        "funcopt.adamw(1e-3, msk='kernel$')",
        "funcopt.adam(learning_rate=1e-3, betas=(0.9, 0.999))",
        "optax.no_such_thing",
        "no_such_argument=3",
        "docs/no_such_page.md",
        "tests/no_such_test.py",
        "funcopt compare --no-such-option",
        "funcopt no_such_command",
        "--no-such-option",
        "test_no_such_test",
        "adamw-no-such-case-*",
    ],
)
def test_names_that_do_not_exist_are_found(span):
    assert list(faults(span, set()))


def tables(page: Path) -> Iterator[list[str]]:
    """The tables, line by line."""
    table: list[str] = []
    for line in [*prose(page).splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            yield table
            table = []


def cells(line: str) -> int:
    r"""How many cells a row has: a bar separates them, also in code, unless it is `\|`.

    >>> cells("| a | `b \\| c` |"), cells("| a | `b | c` |")
    (2, 3)
    """
    return len(re.findall(r"(?<!\\)\|", line)) - 1


@each_page
def test_tables_have_all_their_cells(page):
    for table in tables(page):
        assert len(table) > 2
        assert re.fullmatch(r"\|( ?:?-+:? ?\|)+", table[1]), table[0]
        wrong = [line for line in table if cells(line) != cells(table[0]) or line[-1] != "|"]
        assert wrong == []
