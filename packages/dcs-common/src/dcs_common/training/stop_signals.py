"""Ending a run between two steps instead of in the middle of one."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn the first SIGTERM or SIGINT into an event; a second one does what it always did.

    Outside the main thread, where Python allows no handlers, the event just stays unset. The old
    handlers are back in place at the end.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    owner = os.getpid()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(_number: int, _frame: FrameType | None) -> None:
        # Workers forked from here get the terminal's Ctrl-C too; the last step needs them.
        if os.getpid() == owner:
            asked.set()
            restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()
