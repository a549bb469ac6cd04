"""Ctrl-C ends a command: at once while it starts, with what was finished while it trains.

Python alone does neither. An interrupt that arrives in a garbage collection or in an import that
catches everything is lost, and the interpreter crashes where it is torn down while XLA's threads
still compile.
"""

import os
import signal
import sys
import threading
from typing import Any, NoReturn

INTERRUPTED = 130
MESSAGE = "funcopt: interrupted before anything was finished."
AGAIN = 0.05  # seconds until a lost interrupt comes back


def leave(status: int) -> NoReturn:
    """Exit without tearing the interpreter down; what was printed is written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # closed, or in the middle of a print
            continue
    os._exit(status)


def end_at_once() -> None:
    """Let an interrupt end the process, where nothing is finished yet and imports could eat it."""

    def leave_with_message(number: int, frame: Any) -> NoReturn:
        del number, frame
        os.write(2, f"{MESSAGE}\n".encode())
        leave(INTERRUPTED)

    listen(leave_with_message)


def raise_always() -> None:
    """Let an interrupt raise `KeyboardInterrupt`, again where a callback of Python has lost it."""
    usual = sys.unraisablehook

    def bring_back(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            usual(lost)

    sys.unraisablehook = bring_back
    listen(signal.default_int_handler)


def listen(handler: Any) -> None:
    """Set the handler, except where whoever started the process has switched interrupts off."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
