"""`import funcopt` loads next to nothing, and whatever is used then is what an import gives."""

import copy
import importlib
import json
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import funcopt
import funcopt.optax
from funcopt.core.lazy import Lazy, imports

ROOT = Path(__file__).parents[1]
LAZY = [funcopt, funcopt.rules, funcopt.schedules, funcopt.wrappers]
OVER_OPTAX = [funcopt.optax, funcopt.optax.schedules, funcopt.optax.transforms]
lazy_modules = pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)


def fresh(program: str) -> Any:
    """What `told` is at the end of a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program) + "\nimport json; print(json.dumps(told))"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_funcopt_loads_neither_algorithms_nor_jax():
    told = fresh(
        """
        import sys
        known = set(sys.modules)
        import funcopt

        def names():
            return sorted({name for name in set(sys.modules) - known if "." not in name} - stdlib)

        stdlib = set(sys.stdlib_module_names)
        ours = sorted(name for name in sys.modules if name.startswith("funcopt."))
        dir(funcopt), funcopt.__version__, funcopt.schedules.__all__
        errors = []
        for name in ("where", "adm", "Adam", "total", "Wrapper"):
            try:
                getattr(funcopt, name)
            except AttributeError as error:
                errors.append(str(error))
        told = [ours, errors, names()]
        """
    )
    ours, errors, loaded = told
    assert ours == ["funcopt.core", "funcopt.core.lazy"]
    assert [error.split()[-1] for error in errors] == [
        "funcopt.masked.",
        "'adm'",
        "funcopt.rules.Adam.",
        "funcopt.schedules.total.",
        "funcopt.wrappers.Wrapper.",
    ]
    assert loaded == ["funcopt"]


def test_names_are_loaded_when_they_are_used():
    """An optimizer with what it is made of; others inside of `jit`, which keeps no tracer of them;
    before and after submodules, which hide none; and from several threads at once."""
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0),
        funcopt.adamw(funcopt.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
    )
    told = fresh(
        f"""
        import pickle, sys
        tx = pickle.loads({pickle.dumps(tx)!r})
        first = [name.split(".")[1:] for name in sys.modules if name.startswith("funcopt.")]

        import importlib, pkgutil, threading
        import funcopt, jax
        from funcopt.core.lazy import imports

        def traced(x):
            for name in funcopt.__all__[::2]:
                getattr(funcopt, name)
            return x

        jax.jit(traced)(1.0)
        ours = [(name, module) for name, module in sys.modules.items() if "funcopt" in name]
        kept = [
            f"{{name}}.{{key}}"
            for name, module in ours
            for key, x in vars(module).items()
            if isinstance(x, jax.core.Tracer)
        ]
        reached = funcopt.optimizers.adam.__name__, funcopt.math.newton_schulz.__name__
        found = pkgutil.walk_packages(funcopt.__path__, "funcopt.")
        left = ("funcopt.lab", "funcopt.optax", "funcopt.__main__")
        for name in sorted((each.name for each in found), reverse=True):
            if not name.startswith(left):
                importlib.import_module(name)

        hidden = []

        def use(backwards):
            start.wait()
            for module in (funcopt, funcopt.rules, funcopt.schedules, funcopt.wrappers):
                names = imports(module.__name__).items()
                for name, place in sorted(names, reverse=backwards):
                    x = getattr(importlib.import_module(place), name)
                    if getattr(module, name, None) is not x:
                        hidden.append(f"{{module.__name__}}.{{name}}")

        start = threading.Barrier(4)
        threads = [threading.Thread(target=use, args=[k % 2 == 0]) for k in range(4)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        equal = eval(repr(tx), vars(funcopt)) == tx
        told = dict(first=first, kept=kept, reached=reached, hidden=hidden, equal=equal)
        """
    )
    files = {name[1] for name in told["first"] if name[0] == "optimizers" and len(name) == 2}
    assert {"adamw", "scale_by_adam"} <= files
    assert len(files) <= 8, "it loads algorithms that it does not use"
    folders = {name[0] for name in told["first"]}
    assert folders & {"averaging", "lab", "monitoring", "optax", "rate_free", "safety"} == set()
    assert told["kept"] == told["hidden"] == []
    assert told["reached"] == ["funcopt.optimizers.adam", "funcopt.math.newton_schulz"]
    assert told["equal"]


@pytest.mark.parametrize("module", LAZY + OVER_OPTAX, ids=lambda module: module.__name__)
def test_no_submodule_has_the_name_of_what_a_module_exports(module):
    """It would be what an import sets in the module, whether the name was used before or not."""
    inside = {each.name for each in pkgutil.iter_modules(getattr(module, "__path__", []))}
    exported = imports(module.__name__)
    modules = {name for name, place in exported.items() if place == module.__name__}
    assert inside & exported.keys() == modules


@lazy_modules
def test_all_is_what_is_imported_and_what_vars_has(module):
    assert sorted(imports(module.__name__)) == sorted(module.__all__)
    assert set(module.__all__) <= vars(module).keys() & set(dir(module))


def test_importing_the_namespace_of_optax_loads_optax_and_an_algorithm_when_it_is_used():
    """Every name of it is in `dir`, and what funcopt has, in `vars`, is what a name gives."""
    told = fresh(
        """
        import sys
        import funcopt.optax as optax

        def ours():
            names = [name for name, x in sys.modules.items() if x.__name__ == name]
            return {name for name in names if name.startswith("funcopt")}

        first = sorted(ours())
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(1, 0, 9)))
        used = sorted(name for name in ours() if name.count(".") == 2)
        differ = [name for name in vars(optax) if getattr(optax, name) is not vars(optax)[name]]
        made = [name for name in ("yogi", "chain", "zero_nans", "trace") if name not in vars(optax)]
        try:
            optax.monte_carlo
        except AttributeError as error:
            removed = str(error)
        told = [first, used, differ, made, removed, set(optax.__all__) <= set(dir(optax))]
        """
    )
    first, used, differ, made, removed, listed = told
    assert first == ["funcopt", "funcopt.core", "funcopt.core.lazy", "funcopt.optax"]
    folders = {name.split(".")[1] for name in used}
    assert folders & {"averaging", "monitoring", "rate_free", "safety"} == set()
    assert "funcopt.optax.contrib" not in used
    assert differ == made == []
    assert "monte_carlo is deprecated" in removed
    assert listed


def test_without_source_all_is_loaded_at_once():
    told = fresh(
        """
        import sys
        from importlib.machinery import SourceFileLoader
        SourceFileLoader.get_source = lambda self, name: None
        import funcopt
        early = "funcopt.optimizers.lion" in sys.modules
        import funcopt.optax as optax
        all = set(funcopt.__all__) <= vars(funcopt).keys(), {"yogi", "masked"} <= vars(optax).keys()
        loss = float(optax.l2_loss(2.0))
        told = [early, *all, loss, repr(funcopt.lion(0.1)), repr(optax.sgd(0.1))]
        """
    )
    shown = "lion(learning_rate=0.1)", "optax.sgd(learning_rate=0.1)"
    assert told == [True, True, True, 2.0, *shown]


def test_a_module_is_copied_and_pickled_as_itself():
    """As programs that send functions to other processes do with what these name."""
    assert copy.deepcopy(funcopt) is funcopt
    assert pickle.loads(pickle.dumps(funcopt.schedules)) is funcopt.schedules


def test_a_reloaded_module_has_what_its_files_have(monkeypatch):
    assert funcopt.dog is funcopt.rate_free.dog.dog
    monkeypatch.setattr(funcopt.rate_free.dog, "dog", funcopt.adamw)
    assert funcopt.dog is not funcopt.adamw
    assert importlib.reload(funcopt) is funcopt
    assert funcopt.dog is funcopt.adamw
    monkeypatch.undo()
    importlib.reload(funcopt)
    assert funcopt.dog is funcopt.rate_free.dog.dog
    assert isinstance(funcopt, Lazy)


def test_what_is_no_name_of_a_package_is_no_attribute():
    with pytest.raises(AttributeError, match=r"module 'funcopt.optimizers' has no attribute 'adm'"):
        funcopt.optimizers.adm  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ImportError, match="cannot import name 'adm'"):
        exec("from funcopt import adm")
