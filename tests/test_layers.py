"""Who may import whom, so that an algorithm stays a page and the core stays a core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import funcopt

ROOT = Path(funcopt.__file__).resolve().parent
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
CORE = [name for name in MODULES if not name.startswith("lab/")]


def below(folder: str) -> list[str]:
    return [name for name in CORE if name.startswith(f"{folder}/")]


def imported(name: str) -> Iterator[str]:
    """What a module imports, funcopt's own names in full: `funcopt.rule.Rule`."""
    package = ["funcopt", *Path(name).parent.parts]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def ours(name: str) -> list[str]:
    return [what for what in imported(name) if what.split(".")[0] == "funcopt"]


def foreign(name: str) -> set[str]:
    roots = {what.split(".")[0] for what in imported(name)}
    return roots - {"funcopt"} - set(sys.stdlib_module_names)


def outside(names: list[str], allowed: tuple[str, ...]) -> list[str]:
    """The names that are neither one of `allowed` nor below one."""
    return [n for n in names if not any(n == a or n.startswith(f"{a}.") for a in allowed)]


@pytest.mark.parametrize("name", below("math"))
def test_math_knows_only_arrays(name):
    assert foreign(name) <= {"jax", "jaxtyping", "numpy"}
    assert outside(ours(name), ("funcopt.math",)) == []


RULES = [
    name
    for name in CORE
    if not name.startswith("core/")
    and any(
        isinstance(node, ast.ClassDef) and "Rule" in map(ast.unparse, node.bases)
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
    )
]
RULES_MAY_IMPORT = (
    "funcopt.clips.clip_report",
    "funcopt.core.arguments",
    "funcopt.core.leaf.LayerAxis",
    "funcopt.core.lift.where",
    "funcopt.core.optimizer",
    "funcopt.core.paths.Mask",
    "funcopt.core.report",
    "funcopt.core.rule",
    "funcopt.core.transformation.transformation",
    "funcopt.math",
    "funcopt.optimizers",
    "funcopt.storage",
    "funcopt.transforms",
)


@pytest.mark.parametrize("name", RULES)
def test_rules_know_one_array(name):
    assert outside(ours(name), RULES_MAY_IMPORT) == []
    assert foreign(name) <= {"jax", "jaxtyping"}


def attributes(tree: ast.AST) -> Iterator[str]:
    """Dotted names as they are written, `jax.tree.map`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


RULES_MUST_NOT_SAY = ("jax.tree", "jax.tree_util", "jax.sharding", "jax.device_put", "jax.dtypes")
DTYPES = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}


@pytest.mark.parametrize("name", RULES)
def test_rules_choose_no_dtype_tree_or_place(name):
    """They may read the dtype of an array that they were given, and name none."""
    words = list(attributes(ast.parse(MODULES[name].read_text())))
    assert [
        w for w in words if any(f"{w}.".startswith(f"{no}.") for no in RULES_MUST_NOT_SAY)
    ] == []
    assert [w for w in words if w.split(".")[-1] in DTYPES] == []


REGISTER = "jax.tree_util.register_pytree_with_keys_class"


@pytest.mark.parametrize("name", below("storage"))
def test_storage_knows_neither_trees_nor_rules(name):
    assert outside(ours(name), ("funcopt.math", "funcopt.storage", "funcopt.core.arguments")) == []
    words = attributes(ast.parse(MODULES[name].read_text()))
    registers = ("jax.tree_util", "jax.tree_util.GetAttrKey", REGISTER)
    assert [w for w in words if w.startswith("jax.tree") and w not in registers] == []


@pytest.mark.parametrize("name", [n for n in MODULES if n != "core/record.py"])
def test_records_have_their_class_in_their_structure(name):
    """Where they are `jit` arguments, two of the same fields must not share a program."""
    words = attributes(ast.parse(MODULES[name].read_text()))
    assert [w for w in words if w.endswith("register_dataclass")] == []


VALUES = (
    "funcopt.core.arguments",
    "funcopt.core.hints",
    "funcopt.core.feedback",
    "funcopt.core.record",
    "funcopt.core.schedule",
    "funcopt.core.signatures",
    "funcopt.core.steps",
    "funcopt.core.value",
    "funcopt.math",
    "funcopt.schedules",
)


@pytest.mark.parametrize(
    "name", [n for n in CORE if n.startswith(("schedules/", "core/arguments.py", "core/value.py"))]
)
def test_values_and_schedules_know_no_rules(name):
    assert outside(ours(name), VALUES) == []


@pytest.mark.parametrize("name", CORE)
def test_only_the_lift_knows_trees_and_rules(name):
    imports = ours(name)
    knows_rules = any(what.startswith("funcopt.core.rule.Rule") for what in imports)
    words = attributes(ast.parse(MODULES[name].read_text()))
    knows_trees = any(word.startswith("jax.tree") for word in words)
    # `chain` names `Rule` in the error that says how to make one a transformation.
    lifts = (
        "core/lift.py",
        "core/one_leaf.py",
        "core/transformation.py",
        "core/tree_lift.py",
    )
    assert not (knows_rules and knows_trees) or name in lifts


# A report is drawn only when it is asked for: importing funcopt imports neither, see below.
DRAWS = {
    "__main__.py": {"funcopt_cli"},
    "monitoring/picture.py": {"matplotlib"},
    "monitoring/report.py": {"matplotlib", "rich"},
    "monitoring/svg.py": {"matplotlib"},
}


@pytest.mark.parametrize("name", CORE)
def test_the_core_does_not_know_the_lab(name):
    assert [what for what in imported(name) if what.startswith("funcopt.lab")] == []
    assert foreign(name) <= {"jax", "jaxtyping", "numpy", "optax"} | DRAWS.get(name, set())


def test_importing_funcopt_imports_no_extra():
    program = "import sys, funcopt; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    loaded = set(done.stdout.split())
    assert {"jax", "optax", "funcopt"} <= loaded
    assert loaded & {"matplotlib", "rich", "tyro", "sklearn", "pandas", "tests"} == set()


def test_no_folder_for_everything_else():
    vague = {"utils", "util", "common", "misc", "contrib", "_src", "helpers", "base"}
    assert [n for n in MODULES if vague & set(Path(n).with_suffix("").parts)] == []


@pytest.mark.parametrize("name", RULES)
def test_an_algorithm_is_a_page(name):
    assert len(MODULES[name].read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", CORE)
def test_no_inheritance_beyond_one_base(name):
    """Rules inherit from `Rule` only; values may add what optax's consumers check for."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ClassDef):
            assert len(node.bases) <= 2
            if name in RULES:
                assert [ast.unparse(base) for base in node.bases] in (["Rule"], ["NamedTuple"])
