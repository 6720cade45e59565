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

    So too the signal by which a scheduler warns of a time-out (SIGUSR2 of Submitit), where somebody
    handles it already: who does gets it at the end, when the checkpoint is written, and
    not in the middle of a step.

    Outside the main thread, where Python allows no handlers, the event just stays unset. The old
    handlers are back in place at the end.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    warned = []
    if callable(signal.getsignal(signal.SIGUSR2)):
        before[signal.SIGUSR2] = signal.getsignal(signal.SIGUSR2)
    owner = os.getpid()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: FrameType | None) -> None:
        # Workers forked from here get the terminal's Ctrl-C too; the last step needs them.
        if os.getpid() != owner:
            return
        asked.set()
        if number == signal.SIGUSR2:
            warned.append(number)
        else:
            restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()
    if warned:
        signal.raise_signal(signal.SIGUSR2)
