"""Names of a module that are loaded when they are first used.

    if TYPE_CHECKING or not _lazy(__name__):
        from .optimizers.adam import adam as adam

Type checkers read the imports as they stand. When the program runs, `lazy` reads them in the source
and is true, so that none is made until its name is asked for. Where there is no source, as in some
bundled programs, it is false, and all are made at once.

What looks at all names, such as `vars(module)`, loads all: `eval(repr(tx), vars(funcopt))` finds
whatever a repr may name. That, names of other packages, and modules that are no packages are what
the library lazy_loader does not do.
"""

import re
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, resolve_name
from threading import RLock
from types import ModuleType
from typing import Any

EXPORT = re.compile(r"^ +from (\.[\w.]*) import (?:\(\s*)?(\w+) as \2\b", re.MULTILINE)
LOCK = RLock()  # threads that load parts of one another would find each other's half done


class Lazy(ModuleType):
    """A module whose names are loaded when they are first used, and so are its submodules.

    What it has not got is asked of its function `_missing(name)`, where there is one.
    """

    def __getattr__(self, name: str) -> Any:
        places = imports(self.__name__)
        if name in places:
            with LOCK:
                x = loaded(name, places[name], self.__name__)
                setattr(self, name, x)
            return x
        public = name.isidentifier() and not name.startswith("_")
        if public and "__path__" in own(self) and find_spec(f"{self.__name__}.{name}"):
            return import_module(f"{self.__name__}.{name}")
        if public and "_missing" in own(self):
            return self._missing(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, x: Any) -> None:
        """A package in this one is lazy as well: one that is set when a file of it is loaded."""
        super().__setattr__(name, x)
        inside = type(x) is ModuleType and x.__name__ == f"{self.__name__}.{name}"
        if inside and hasattr(x, "__path__") and "__getattr__" not in own(x):
            x.__class__ = Lazy

    @property
    def __dict__(self) -> dict[str, Any]:
        for name in imports(self.__name__).keys() - own(self).keys():
            getattr(self, name)
        return own(self)

    def __dir__(self) -> list[str]:
        told = own(self).get("__dir__")
        return told() if told else sorted({*own(self), *imports(self.__name__)})

    def __reduce__(self) -> tuple:
        return import_module, (self.__name__,)


def lazy(name: str) -> bool:
    """Make the module of that name, which is being run, a lazy one; whether it is."""
    module = sys.modules[name]
    if isinstance(module, Lazy):  # it is reloaded
        imports.cache_clear()
        for each in imports(name):
            own(module).pop(each, None)
    module.__class__ = Lazy
    for each, x in list(own(module).items()):
        setattr(module, each, x)
    return bool(imports(name))


def own(module: ModuleType) -> dict[str, Any]:
    """What is in a module so far."""
    return vars(ModuleType)["__dict__"].__get__(module)


@cache
def imports(name: str) -> dict[str, str]:
    """The names that a module exports, and of which module each is."""
    spec = sys.modules[name].__spec__
    assert spec is not None
    source = getattr(spec.loader, "get_source", lambda _: None)(name) or ""
    found = EXPORT.findall(source)
    return {exported: resolve_name(module, spec.parent) for module, exported in found}


def loaded(name: str, module: str, importer: str) -> Any:
    """What `from module import name` gives, functions and classes with signatures to be read."""
    if module == importer:
        return import_module(f"{module}.{name}")
    x = getattr(import_module(module), name)
    if callable(x):
        from .signatures import readable_functions

        readable_functions({name: x})
    return x
