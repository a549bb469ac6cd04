"""Ctrl-C ends a command: at once while it starts, with what was finished while it trains.

Python alone does neither. An interrupt that arrives in a garbage collection or in an import that
catches everything is lost; one that arrives while XLA compiles is heard of when that is done; and
the interpreter crashes where it is torn down while XLA's threads still compile.
"""

import os
import select
import signal
import sys
import threading
from typing import Any, NoReturn

INTERRUPTED = 130
MESSAGE = "funcopt: interrupted before anything was finished."
WAIT = "funcopt: interrupted, once this step or compilation is done; Ctrl-C again ends it now."
AGAIN = 0.05  # seconds until a lost interrupt comes back
PATIENCE = 0.5  # seconds until somebody is told that it takes longer


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

    heard = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        heard.set()
        signal.default_int_handler(number, frame)

    sys.unraisablehook = bring_back
    if listen(interrupt):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=watch, args=(reader, heard), daemon=True).start()


def watch(reader: int, heard: threading.Event) -> None:
    """End at the second interrupt where the main thread has not heard of the first one yet.

    That hears of a signal when it comes back to Python; the pipe has its number at once.
    """
    while True:
        if signal.SIGINT not in os.read(reader, 64):
            continue
        if heard.wait(PATIENCE):
            heard.clear()
            continue
        os.write(2, f"\n{WAIT}\n".encode())
        while not heard.is_set():
            if select.select([reader], [], [], PATIENCE)[0]:
                leave(INTERRUPTED)
        heard.clear()


def listen(handler: Any) -> bool:
    """Set the handler, except where whoever started the process has switched interrupts off."""
    listens = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    if listens:
        signal.signal(signal.SIGINT, handler)
    return listens
