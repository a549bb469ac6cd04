"""Where a command writes: a folder of its own for each run, or the one that was asked for."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

HOME = Path("funcopt-out")


@dataclass(frozen=True)
class Folder:
    """`path` is there and can be written; `note` says what a reader has to know about it."""

    path: Path
    note: str = ""


@contextlib.contextmanager
def folder(out: Path | None, name: str) -> Iterator[Folder]:
    """`out` itself; or, where that is None, the first of `name`, `name-2`, ... that is not there.

    What a run before has written into `out` is replaced, which the note says. A folder that was
    made here and in which nothing was written is removed again. Raises `OSError` where nothing can
    be written, so that a long run does not end in an error.
    """
    made = out is None or not out.exists()
    path = numbered(name.replace(":", "-")) if out is None else out
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass
    note = "replaces what an earlier run has written there" if any(path.iterdir()) else ""
    try:
        yield Folder(path, note)
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()


def numbered(name: str) -> Path:
    """A new folder; two runs that begin at once get two."""
    for place in count(1):
        path = HOME / (name if place == 1 else f"{name}-{place}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError("there is always a next number")
