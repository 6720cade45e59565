"""A run ends between two steps, and a scheduler's handler comes after it."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from dcs_common.training.stop_signals import stop_signals


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """A scheduler's handler of SIGUSR2, and what it heard."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR2, before)


def test_the_scheduler_hears_its_signal_once_the_run_has_ended(heard: list[int]) -> None:
    with stop_signals() as asked:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert asked.is_set()
        assert heard == []
    assert heard == [signal.SIGUSR2]
    os.kill(os.getpid(), signal.SIGUSR2)
    assert heard == [signal.SIGUSR2] * 2


def test_a_run_that_fails_does_not_requeue_itself(heard: list[int]) -> None:
    with pytest.raises(ArithmeticError), stop_signals():
        os.kill(os.getpid(), signal.SIGUSR2)
        raise ArithmeticError
    assert heard == []


def test_the_warning_is_left_alone_where_nobody_waits_for_it() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    assert before is signal.SIG_DFL
    with stop_signals():
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_request_does_what_it_always_did(number: int, heard: list[int]) -> None:
    before = signal.signal(number, lambda number, _frame: heard.append(number))
    try:
        with stop_signals() as asked:
            os.kill(os.getpid(), number)
            assert asked.is_set()
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == [number]
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_another_thread_is_left_in_peace() -> None:
    found = []

    def run() -> None:
        with stop_signals() as asked:
            found.append(asked.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]
