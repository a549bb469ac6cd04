"""How XLA compiles the tests' programs: quickly, because they run for microseconds.

To be imported before JAX, which reads the flags once. Only rounding differs, and where a test is
about rounding or about the program itself, it takes that back with an option below.
`XLA_FLAGS= python -m pytest` compiles everything as users do.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)


def quickly() -> str:
    """The flags that the installed jaxlib knows: one that it does not know ends the process."""
    return " ".join(flag for flag in QUICKLY if known(flag.strip("-").split("=")[0]))


def devices(count: int) -> dict[str, str]:
    """The environment of a process that has `count` devices and compiles as quickly."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def known(flag: str) -> bool:
    for library in libraries():
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            if text.find(flag.encode()) >= 0:
                return True
    return False


def libraries() -> Iterator[Path]:
    spec = importlib.util.find_spec("jaxlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).iterdir():
            if path.suffix in (".so", ".dylib", ".pyd", ".dll") and path.stat().st_size > 0:
                yield path


os.environ.setdefault("XLA_FLAGS", quickly())


def taken_back(**options: Any) -> dict[str, Any]:
    """Compiler options, if the flags of the process say otherwise."""
    return {name: x for name, x in options.items() if name in os.environ["XLA_FLAGS"]}


# Products and sums are contracted, as users' are: float32 rounds once.
CONTRACTED = taken_back(xla_backend_optimization_level=1)
# The fusions are those of users' programs.
FUSED = taken_back(xla_cpu_use_fusion_emitters=True)
# Everything is: rounding at every step is what the test is about.
OPTIMIZED = taken_back(xla_backend_optimization_level=3, xla_cpu_use_fusion_emitters=True)
