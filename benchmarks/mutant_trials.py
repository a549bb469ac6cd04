"""Tries mutants on tests, each in a fork of this process, for `benchmarks.mutants`.

The function with the mistake is put in the place of the right one, so that no file changes, and the
tests are run, one after the other, until one fails.
"""

import functools
import os
import pickle
import signal
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants import Mutant

TOO_LONG = 90  # seconds for one test: a mistake may be a loop without an end


class Late(NamedTuple):
    """Tests of a file that makes arrays when it is imported, which only a fork may do."""

    path: str
    names: tuple[str, ...]

    def items(self, session: pytest.Session) -> list[pytest.Item]:
        return list(session.perform_collect([f"{self.path}::{name}" for name in self.names]))


class Trial(NamedTuple):
    """A mutant, the tests that it is to be tried on, and the functions that it is put in."""

    mutant: Mutant
    items: list[pytest.Item]
    late: list[Late]
    functions: list[types.FunctionType]
    session: pytest.Session

    def put(self, code: types.CodeType) -> None:
        for each in self.functions:
            each.__code__ = code


class Outcome(NamedTuple):
    """The test that fails, if one does, and how; and the seconds until then."""

    killed_by: str | None
    how: str | None
    seconds: float


def forked(work: Callable[[], Iterable[Any]], seconds: float) -> Iterator[Any]:
    """What `work` yields in a fork of this process, as long as it lives."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has started no threads yet
        child = os.fork()
    if child == 0:
        os.close(read)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            with os.fdopen(write, "wb") as pipe:
                signal.alarm(int(seconds))
                for answer in work():
                    pickle.dump(answer, pipe)
                    pipe.flush()
                    signal.alarm(int(seconds))
        finally:
            os._exit(0)
    os.close(write)

    def answers() -> Iterator[Any]:
        with os.fdopen(read, "rb") as pipe:
            while True:
                try:
                    yield pickle.load(pipe)
                except EOFError:
                    break
        os.waitpid(child, 0)

    return answers()


def failure(item: pytest.Item) -> str | None:
    """How a test fails, in a line; None if it passes."""
    for report in runtestprotocol(item, log=False, nextitem=None):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return crash.message.splitlines()[0][:120] if crash else "error"
    return None


def quickly(trials: list[Trial]) -> Iterator[Outcome | str | None]:
    """The first test of each of several mutants, one after the other in this process.

    At last the right code must pass, so that no mutant was taken for another.
    """
    import jax

    for trial in trials:
        start = time.perf_counter()
        right = trial.functions[0].__code__
        trial.put(trial.mutant.code)
        jax.clear_caches()
        how = failure(trial.items[0])
        trial.put(right)
        by = trial.items[0].nodeid if how else None
        yield Outcome(by, how, time.perf_counter() - start)
    jax.clear_caches()
    yield failure(trials[0].items[0])


def thoroughly(trial: Trial, known: set[str]) -> Iterator[Outcome | str]:
    """All tests of one mutant, until one fails; the name of each before it is run.

    But for those that are `known` to fail without it. A file is collected with the right code.
    """
    start = time.perf_counter()
    right = trial.functions[0].__code__
    for late in (None, *trial.late):
        trial.put(right)
        items = late.items(trial.session) if late else trial.items
        trial.put(trial.mutant.code)
        for item in items:
            if item.nodeid in known:
                continue
            yield item.nodeid
            how = failure(item)
            if how is not None:
                yield Outcome(item.nodeid, how, time.perf_counter() - start)
                return
    yield Outcome(None, None, time.perf_counter() - start)


def fails_anyhow(name: str, trial: Trial) -> bool:
    """Whether a test fails with the right code too."""

    def once() -> Iterator[str | None]:
        for late in (None, *trial.late):
            if late is None or name.startswith(f"{late.path}::"):
                for item in late.items(trial.session) if late else trial.items:
                    if item.nodeid == name:
                        yield failure(item)
                        return

    return list(forked(once, TOO_LONG)) != [None]


def outcomes(trials: list[Trial], sound: dict[str, bool]) -> list[Outcome]:
    """What becomes of mutants; `sound` is told which tests pass with the right code."""
    first: list[Any] = list(forked(lambda: quickly(trials), TOO_LONG))
    all_sound = len(first) == len(trials) + 1 and first[-1] is None
    found = []
    for i, trial in enumerate(trials):
        outcome = first[i] if all_sound and first[i].killed_by else None
        while outcome is None:
            known = {name for name, passes in sound.items() if not passes}
            work = functools.partial(thoroughly, trial, known)
            answer = list(forked(work, TOO_LONG))
            last = answer[-1] if answer else trial.items[0].nodeid
            outcome = Outcome(last, "it does not end", TOO_LONG) if isinstance(last, str) else last
            by = outcome.killed_by
            if by is not None and by not in sound:
                sound[by] = not fails_anyhow(by, trial)
            if by is not None and not sound[by]:
                print(f"  {by} fails with the right code: {outcome.how}", flush=True)
                outcome = None
        found.append(outcome)
    return found
