"""Ctrl-C ends the command with status 130 wherever it comes, and keeps what was finished."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from funcopt_cli import interrupts

ROOT = Path(__file__).parent.parent
# Test runners may start their workers with interrupts switched off, which a command respects.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
HEALTH = ["health", "--quick", "--task", "deep_tanh", "--steps", "50", "--seeds", "2"]


def started(*argv: str, cwd: Path, code: str = "", cache: Path | None = None) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
    if cache is not None:  # empty: everything is compiled
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", code or f"{START} import funcopt_cli; funcopt_cli.main()", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_while_it_starts(tmp_path, seconds):
    command = started(*HEALTH, cwd=tmp_path)
    time.sleep(seconds)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert command.returncode in (130, -signal.SIGINT)  # the latter before Python runs our code
    assert "Traceback" not in err or command.returncode < 0


@pytest.mark.parametrize("seconds", [0.2, 1.5])
def test_while_it_compiles(tmp_path, seconds):
    command = started(*HEALTH, cwd=tmp_path, cache=tmp_path / "cache")
    assert command.stdout is not None
    assert "treatments x" in command.stdout.readline()  # said before the first is compiled
    time.sleep(seconds)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert err.strip() in ("", interrupts.WAIT)
    assert "Interrupted: what is missing was not tried." in out


def test_an_import_that_catches_everything_swallows_nothing(tmp_path):
    (tmp_path / "tyro.py").write_text(
        "import os, signal\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException: print('swallowed', flush=True)\n"
    )
    code = f"{START} import sys; sys.path.insert(0, '.'); import funcopt_cli; funcopt_cli.main()"
    out, err = started("list", cwd=tmp_path, code=code).communicate(timeout=60)
    assert (out, err) == ("", interrupts.MESSAGE + "\n")


def test_an_interrupt_that_a_callback_loses_comes_back(tmp_path):
    """XLA and others listen to Python's garbage collector, from where no exception gets out."""
    code = (
        f"{START} import gc, os, time\n"
        "from funcopt_cli import interrupts\n"
        "interrupts.raise_always()\n"
        "def callback(phase, info):\n"
        "    gc.callbacks.remove(callback)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0)\n"
        "gc.callbacks.append(callback)\n"
        "try:\n"
        "    gc.collect()\n"
        "    time.sleep(30)\n"
        "except KeyboardInterrupt:\n"
        "    print('came back')\n"
    )
    out, err = started(cwd=tmp_path, code=code).communicate(timeout=60)
    assert (out, err) == ("came back\n", "")


def test_the_second_interrupt_ends_what_does_not_hear_the_first(tmp_path):
    """As a compiler: a call that comes back to Python after a minute."""
    code = (
        f"{START} import hashlib\n"
        "from funcopt_cli import interrupts\n"
        "interrupts.raise_always()\n"
        "print('busy', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'word', b'salt', 10**8)\n"
    )
    command = started(cwd=tmp_path, code=code)
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.readline()
    time.sleep(1.0)  # it is in the call by then
    command.send_signal(signal.SIGINT)
    assert command.stderr.readline() == "\n"
    assert "again ends it now" in command.stderr.readline()
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=20)
    assert command.returncode == 130


def test_leaving_writes_what_was_printed(tmp_path):
    code = "from funcopt_cli import interrupts; print('kept'); interrupts.leave(130)"
    command = started(cwd=tmp_path, code=code)
    assert command.communicate(timeout=60)[0] == "kept\n"
    assert command.returncode == 130
