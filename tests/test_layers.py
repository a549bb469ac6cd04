"""Who may import whom, so that an algorithm stays a page and the core stays a core.

Every file is parsed once. A check fails with the list of all that offends, one line each.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import funcopt

ROOT = Path(funcopt.__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """A file below `funcopt/`: its path there, its name as an import, and what is written in it."""

    path: str
    text: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    @property
    def dotted(self) -> str:
        return ".".join(["funcopt", *self.path.removesuffix(".py").split("/")]).removesuffix(
            ".__init__"
        )

    def full_names(self, node: ast.AST) -> Iterator[str]:
        """What one node imports, funcopt's own names in full: `funcopt.core.rule.Rule`."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["funcopt", *self.path.split("/")[:-1]]
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)

    @cached_property
    def imports(self) -> list[str]:
        """All that it imports, in functions and for type checkers too."""
        return [name for node in self.nodes for name in self.full_names(node)]

    @cached_property
    def imports_at_run_time(self) -> list[str]:
        """All that it imports, in functions too, but not `if TYPE_CHECKING` and no more."""
        typing = {
            id(below)
            for node in self.nodes
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for part in node.body
            for below in ast.walk(part)
        }
        written = (node for node in self.nodes if id(node) not in typing)
        return [name for node in written for name in self.full_names(node)]

    @property
    def ours(self) -> list[str]:
        return [name for name in self.imports if name.split(".")[0] == "funcopt"]

    @property
    def foreign(self) -> set[str]:
        roots = {name.split(".")[0] for name in self.imports}
        return roots - {"funcopt"} - set(sys.stdlib_module_names)

    @cached_property
    def words(self) -> list[str]:
        """Dotted names as they are written, `jax.tree.map`."""
        return [ast.unparse(node) for node in self.nodes if isinstance(node, ast.Attribute)]

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The bases of every class in it."""
        found = [node for node in self.nodes if isinstance(node, ast.ClassDef)]
        return {node.name: [ast.unparse(base) for base in node.bases] for node in found}

    def is_in(self, *folders: str) -> bool:
        return self.path.startswith(tuple(f"{folder}/" for folder in folders))


HOUSE = [
    Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
]
NAMES = {module.dotted for module in HOUSE}
NOT_LAB = [module for module in HOUSE if not module.is_in("lab")]

RULE_CLASSES = {"Rule", "TreeRule"}
RULES = [
    module
    for module in NOT_LAB
    if not module.is_in("core")
    and any(RULE_CLASSES & set(bases) for bases in module.classes.values())
]


def offenders(modules: Iterable[Module], wrong) -> list[str]:
    """A line for each module of which `wrong(module)` lists something."""
    found = ((module, list(wrong(module))) for module in modules)
    return [f"{module.path}: {', '.join(map(str, what))}" for module, what in found if what]


def beyond(names: Iterable[str], allowed: tuple[str, ...]) -> list[str]:
    """The names that are neither one of `allowed` nor below one."""
    return [n for n in names if not any(n == a or n.startswith(f"{a}.") for a in allowed)]


def within(names: Iterable[str], refused: tuple[str, ...]) -> list[str]:
    """The names that are one of `refused` or below one."""
    return [n for n in names if any(n == r or n.startswith(f"{r}.") for r in refused)]


def test_math_knows_only_arrays():
    def wrong(module: Module) -> list[str]:
        foreign = module.foreign - {"jax", "jaxtyping", "numpy"}
        return [*beyond(module.ours, ("funcopt.math",)), *sorted(foreign)]

    assert offenders((m for m in HOUSE if m.is_in("math")), wrong) == []


# What a file with a rule in it may import of funcopt.
RULES_MAY_IMPORT = (
    "funcopt.core.arguments",
    "funcopt.core.basis",
    "funcopt.core.leaf",
    "funcopt.core.masked",
    "funcopt.core.optimizer",
    "funcopt.core.paper",
    "funcopt.core.paths.Both",
    "funcopt.core.paths.Mask",
    "funcopt.core.paths.Unlike",
    "funcopt.core.record.Static",
    "funcopt.core.report",
    "funcopt.core.rule",
    "funcopt.core.transformation.transformation",
    # what a wrapper is given, and the rates that are told inside of it
    "funcopt.core.chain",
    "funcopt.core.metrics.rates",
    "funcopt.core.transformation.gated",
    "funcopt.core.tree_lift",
    "funcopt.core.tree_rule",
    "funcopt.math",
    "funcopt.storage",
    # each other, and what stands beside them
    "funcopt.averaging",
    "funcopt.clips",
    "funcopt.optimizers",
    "funcopt.rate_free",
    "funcopt.transforms",
)


def test_a_rule_knows_arrays_and_numbers():
    def wrong(module: Module) -> list[str]:
        foreign = module.foreign - {"jax", "jaxtyping"}
        if any("TreeRule" in bases for bases in module.classes.values()):
            foreign -= {"optax"}  # whose type of a number or schedule it may name
        return [*beyond(module.ours, RULES_MAY_IMPORT), *sorted(foreign)]

    assert len(RULES) > 20
    assert offenders(RULES, wrong) == []


TREES_AND_PLACES = (
    "jax.tree",
    "jax.tree_util",
    "jax.sharding",
    "jax.device_put",
    "jax.dtypes",
)
DTYPES = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}


def test_a_rule_chooses_no_dtype_tree_or_place():
    """It may read the dtype of an array that it was given, and name none."""

    def wrong(module: Module) -> list[str]:
        said = within([*module.words, *module.imports], TREES_AND_PLACES)
        return [*said, *(word for word in module.words if word.split(".")[-1] in DTYPES)]

    assert offenders(RULES, wrong) == []


# A codec is a class that `jit` takes apart.
CODECS_MAY_SAY = (
    "jax.tree_util",
    "jax.tree_util.GetAttrKey",
    "jax.tree_util.register_pytree_with_keys_class",
)


def test_storage_knows_neither_trees_nor_rules():
    def wrong(module: Module) -> list[str]:
        trees = within(module.words, ("jax.tree", "jax.tree_util"))
        allowed = ("funcopt.math", "funcopt.storage", "funcopt.core.arguments")
        return [*beyond(module.ours, allowed), *(t for t in trees if t not in CODECS_MAY_SAY)]

    assert offenders((m for m in HOUSE if m.is_in("storage")), wrong) == []


def test_records_have_their_class_in_their_structure():
    """Where they are `jit` arguments, two of the same fields must not share a program."""

    def wrong(module: Module) -> list[str]:
        return [word for word in module.words if word.endswith("register_dataclass")]

    assert offenders((m for m in HOUSE if m.path != "core/record.py"), wrong) == []


VALUES_MAY_IMPORT = (
    "funcopt.core.arguments",
    "funcopt.core.feedback",
    "funcopt.core.hints",
    "funcopt.core.hyperparameter",
    "funcopt.core.lazy",
    "funcopt.core.record",
    "funcopt.core.schedule",
    "funcopt.core.signatures",
    "funcopt.core.steps",
    "funcopt.core.value",
    "funcopt.math",
    "funcopt.schedules",
)


def test_values_and_schedules_know_no_rules():
    values = [m for m in HOUSE if m.is_in("schedules") or m.dotted in VALUES_MAY_IMPORT]
    assert offenders(values, lambda m: beyond(m.ours, VALUES_MAY_IMPORT)) == []


# The two lifts and the chain on one leaf; and `chain` names `Rule` in the error that says how to
# make one a transformation.
KNOW_TREES_AND_RULES = {
    "core/chain.py",
    "core/lift.py",
    "core/one_leaf.py",
    "core/tree_lift.py",
    "core/tree_step.py",
}


def test_only_the_lifts_know_trees_and_rules():
    rules = ("funcopt.core.rule.Rule", "funcopt.core.tree_rule.TreeRule")

    def wrong(module: Module) -> list[str]:
        said = within(module.words, ("jax.tree", "jax.tree_util"))
        known = within(module.imports, rules)
        return [*known, *said] if known and said else []

    assert offenders((m for m in HOUSE if m.path not in KNOW_TREES_AND_RULES), wrong) == []


# A report is drawn only when it is asked for: importing funcopt imports neither, see below.
DRAW = {
    "__main__.py": {"funcopt_cli"},
    "monitoring/picture.py": {"matplotlib"},
    "monitoring/health.py": {"matplotlib", "rich"},
    "monitoring/describe.py": {"rich"},
    "monitoring/listing.py": {"rich"},
    "monitoring/svg.py": {"matplotlib"},
}


def test_the_package_knows_neither_the_lab_nor_what_the_lab_needs():
    def wrong(module: Module) -> list[str]:
        allowed = {"jax", "jaxtyping", "numpy", "optax"} | DRAW.get(module.path, set())
        return [*within(module.ours, ("funcopt.lab",)), *sorted(module.foreign - allowed)]

    assert offenders(NOT_LAB, wrong) == []


def test_importing_funcopt_imports_no_extra():
    program = "import sys, funcopt; vars(funcopt); print(*{n.split('.')[0] for n in sys.modules})"
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


def test_no_module_is_hidden_by_a_function_of_its_name():
    """What `import funcopt.a.b as b` gives is the module, at every level."""
    hidden = []
    for name in sorted(NAMES - {"funcopt", "funcopt.__main__"}):
        module = importlib.import_module(name)
        package, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(package), last)
        hidden += [] if found is module else [f"{name} is hidden by {found!r}"]
    assert hidden == []


def imported_modules(module: Module) -> set[str]:
    """Which of our files it imports at run time; of a package's submodule, that and not both."""
    found = set()
    for name in module.imports_at_run_time:
        while name and name not in NAMES:
            name = name.rpartition(".")[0]
        found.add(name)
    return (found & NAMES) - {module.dotted}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The groups of names each of which leads to every other one of its group (Tarjan, 1972)."""
    order: dict[str, int] = {}
    least: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = least[name] = len(order)
        path.append(name)
        for to in sorted(arrows[name]):
            if to not in order:
                visit(to)
                least[name] = min(least[name], least[to])
            elif to in path:
                least[name] = min(least[name], order[to])
        if least[name] == order[name]:
            place = path.index(name)
            group = path[place:]
            del path[place:]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for name in arrows:
        if name not in order:
            visit(name)
    return found


def test_a_circle_is_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "e"}}
    assert circles(arrows) == [["b", "c"]]


def test_no_two_files_import_each_other_and_no_longer_circle():
    assert circles({module.dotted: imported_modules(module) for module in HOUSE}) == []


def test_no_folder_for_everything_else():
    vague = {"utils", "util", "common", "misc", "contrib", "_src", "helpers", "base"}
    named_by_us = [module for module in HOUSE if not module.is_in("optax")]
    assert (
        offenders(named_by_us, lambda m: vague & set(m.path.removesuffix(".py").split("/"))) == []
    )


def test_an_algorithm_is_a_page():
    folders = ("optimizers", "rate_free", "transforms", "clips", "averaging")
    looked_at = [m for m in HOUSE if m.is_in(*folders) or m in RULES]
    lines = {module.path: len(module.text.splitlines()) for module in looked_at}
    assert {path: count for path, count in lines.items() if count > 120} == {}


def test_no_inheritance_beyond_one_base():
    """Rules inherit from `Rule` or `TreeRule`; values add what optax's consumers check for."""

    def wrong(module: Module) -> list[str]:
        one = [["Rule"], ["TreeRule"], ["NamedTuple"], ["Protocol"], []]
        return [
            f"{name}({', '.join(bases)})"
            for name, bases in module.classes.items()
            if len(bases) > 2 or (module in RULES and bases not in one)
        ]

    assert offenders(NOT_LAB, wrong) == []


def test_an_algorithm_knows_the_types_of_what_it_works_with():
    folders = ("optimizers", "clips", "transforms", "rate_free")
    but = {"transforms/sam_gradient.py"}  # a function around a user's own, of any arguments

    def wrong(module: Module) -> list[str]:
        names = (node for node in module.nodes if isinstance(node, ast.Name))
        return [f"line {node.lineno}" for node in names if node.id == "Any"]

    looked_at = [m for m in HOUSE if m.is_in(*folders) and m.path not in but]
    assert offenders(looked_at, wrong) == []
