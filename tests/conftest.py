"""Stricter rules than users have: no silent promotion of types or ranks in funcopt's own code."""

import gc
import itertools
import os
import tempfile
from pathlib import Path

import tests.compiling  # noqa: F401  (it sets XLA_FLAGS, which JAX reads once)

# Before jax is imported: the numbers in the tests are those of the CPU, and several workers
# would each reserve most of an accelerator's memory.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Matrices are tiny: LAPACK's threads wait for each other longer than they work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Most of the time goes into compiling, which workers and later runs need not repeat.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    f"{tempfile.gettempdir()}/funcopt-tests-{getattr(os, 'getuid', int)()}",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis
import jax
import pytest
import tyro  # noqa: F401  (its import fails on what a doctest may have left in builtins._)
from jaxtyping import install_import_hook
from xdist.scheduler import LoadScopeScheduling

# Scripts that make the frozen data, with packages that the tests do not need.
collect_ignore_glob = ["make_*.py", "golden/make_*.py"]

# The shapes and types in the annotations of algorithms are checked here, and only here.
FOLDERS = ("clips", "math", "optimizers", "rate_free", "safety", "transforms")
AVERAGES = ("average", "ema_nesterov", "gpa", "lookahead", "primal", "schedule_free")
install_import_hook(
    [f"funcopt.{folder}" for folder in FOLDERS]
    + [f"funcopt.averaging.{name}" for name in AVERAGES],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

# The first call of a jitted function compiles, which no deadline per example allows for.
hypothesis.settings.register_profile("funcopt", deadline=None, derandomize=True)
hypothesis.settings.load_profile("funcopt")


# Its rows are looked at by one process, which the file starts.
TOGETHER = ("tests/test_sharded_by_hand.py",)


class Groups(LoadScopeScheduling):
    """What compiles the same programs runs in one process: the tests of a row, those of a file."""

    def __init__(self, config, log):
        super().__init__(config, log)
        from tests.catalog import ALL

        self.rows = sorted((row.name for row in ALL), key=len, reverse=True)

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        case = test.partition("[")[2].removesuffix("]")
        if case and file not in TOGETHER:
            for row in self.rows:
                if case == row or case.startswith(f"{row}-") or case.endswith(f"-{row}"):
                    return row
        return file

    def mark_test_complete(self, node, item_index, duration=0):
        """Forgets groups that are done, which are else looked through at the end of every test."""
        super().mark_test_complete(node, item_index, duration)
        work = self.assigned_work.get(node, {})
        group = self._split_scope(self.registered_collections[node][item_index])
        if all(work.get(group, {"": False}).values()):
            del work[group]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_finish(session):
    """What is imported and collected stays, and is not looked through for garbage again and again.

    Between tests there is little garbage in cycles, and a full collection takes seconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


MAPS = Path("/proc/self/maps")
tests_run = itertools.count(1)


@pytest.fixture(autouse=True)
def forget_programs():
    """Every compiled program holds memory maps, of which Linux gives a process 65,530."""
    yield
    if next(tests_run) % 50 == 0 and MAPS.exists() and MAPS.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def promotion(request):
    """Strict promotion, unless the test is marked `default_promotion`.

    Under it `float32 + bfloat16` and `matrix + vector` raise instead of converting, so that a
    slot whose type drifts or an accidental outer product is an error. Other libraries rely on
    the conversions; tests that run their code carry the mark.
    """
    if request.node.get_closest_marker("default_promotion"):
        yield
        return
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
