"""A run that stops, is stopped or dies goes on to the same numbers, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dcs_common.training import Share, TrainingConfig

from . import toy_training
from .toy_training import (
    Game,
    Regression,
    ToySource,
    assert_same_run,
    saved,
    settings,
    train_toy,
)

MUON = settings(optimizer=replace(settings().optimizer, matrix_learning_rate=0.03))
RUNS: dict[str, tuple[type[Regression], TrainingConfig]] = {
    "regression": (Regression, settings()),
    "in micro-batches": (Regression, settings(accumulate=4)),
    "bfloat16": (Regression, settings(precision="bfloat16")),
    "muon": (Regression, MUON),
    "without average": (Regression, settings(ema_decay=None)),
    "game": (Game, settings()),
}
every_run = pytest.mark.parametrize("name", RUNS)


class Killed(BaseException):
    """The process is gone: no `except Exception` helps."""


def start(name: str, folder: Path, **options: Any) -> Any:
    """Start or continue a run as a new process would: nothing is known but the folder."""
    kind, config = RUNS[name]
    task = kind()
    task.draws_globally = kind is Regression
    task.before = options.pop("before", task.before)
    torch.manual_seed(options.pop("seed", 7))
    return train_toy(task, options.pop("config", config), folder, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a run that was never interrupted."""
    root = tmp_path_factory.mktemp("whole")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            assert start(name, root / name).finished
        return root / name

    return folder


def after(steps: int) -> Callable[[], bool]:
    """Ask to stop after so many steps."""
    asked = iter(range(1, 10**6))
    return lambda: next(asked) == steps


@every_run
def test_stopping_and_going_on_changes_nothing(
    name: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    first = start(name, tmp_path, stop=after(3))
    assert (first.step, first.finished, first.samples) == (3, False, 24)
    # What torch drew in between must not matter.
    second = start(name, tmp_path, stop=after(4), seed=11)
    assert (second.step, second.finished) == (7, False)
    last = start(name, tmp_path, seed=13)
    assert (last.step, last.finished, last.samples) == (11, True, 88)
    assert_same_run(tmp_path, whole(name))


@hypothesis_settings(max_examples=15)
@given(kills=st.lists(st.integers(0, 10), max_size=4), game=st.booleans())
def test_dying_in_any_step_changes_nothing(
    kills: list[int],
    game: bool,
    whole: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name, folder = "game" if game else "regression", tmp_path_factory.mktemp("killed")
    for step in sorted(kills):

        def die(share: Share, step: int = step) -> None:
            if share.step == step:
                raise Killed

        with pytest.raises(Killed):
            start(name, folder, before=die)
    assert start(name, folder).finished
    assert_same_run(folder, whole(name))


@pytest.mark.parametrize("place", ["fsync", "link", "replace"])
def test_dying_while_a_checkpoint_is_written_changes_nothing(
    place: str, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_args: object) -> None:
        raise Killed

    def before(share: Share) -> None:
        if share.step == 7:  # the second checkpoint comes after this step
            patch.setattr(os, place, die)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        start("regression", tmp_path, before=before)
    assert start("regression", tmp_path).finished
    assert_same_run(tmp_path, whole("regression"))


@pytest.mark.slow
@pytest.mark.parametrize("kill_in", ["step", "fsync", "link", "replace"])
@pytest.mark.parametrize("task", ["regression", "game"])
def test_kill_minus_nine_changes_nothing(
    task: str, kill_in: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    at = random.Random(f"{task} {kill_in}").randrange(4, 8)
    arguments = [{"folder": str(tmp_path), "task": task, "kill_at": at, "kill_in": kill_in}]
    done = subprocess.run(
        [sys.executable, "-W", "error", toy_training.__file__, json.dumps(arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    about = json.loads(_metadata(tmp_path)["about"])
    assert about["step"] == 4
    assert start(task, tmp_path).finished
    assert_same_run(tmp_path, whole(task))


def _metadata(folder: Path) -> dict[str, str]:
    data = (folder / "checkpoint.safetensors").read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


# ---------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step(
    number: signal.Signals, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    before = signal.getsignal(number)

    def ask(share: Share) -> None:
        if share.step == 5:
            signal.raise_signal(number)

    result = start("regression", tmp_path, before=ask)
    assert (result.step, result.finished) == (6, False)
    assert signal.getsignal(number) is before
    assert start("regression", tmp_path).finished
    assert_same_run(tmp_path, whole("regression"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler: whoever starts the tests in the background has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_what_it_always_did(tmp_path: Path) -> None:
    def ask(share: Share) -> None:
        if share.step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start("regression", tmp_path, before=ask)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_are_back_after_an_error(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match=r"^The source must yield"):
        start("regression", tmp_path, source=ToySource(length=3))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_in_another_thread_sets_no_handlers(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    handlers = []

    def look(_share: Share) -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: start("regression", tmp_path, before=look))
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)] * 11
    assert_same_run(tmp_path, whole("regression"))


# ---------------------------------------------------------------------- what a source is asked for


def test_the_source_is_asked_for_the_steps_to_come_and_closed(tmp_path: Path) -> None:
    source = ToySource()
    start("in micro-batches", tmp_path, stop=after(3), source=source)
    assert source.closed
    assert source.asked == [Share(s, 2 * i, 2 * i + 2, 8) for s in range(3) for i in range(4)]
    again = ToySource()
    start("in micro-batches", tmp_path, source=again)
    assert again.closed
    assert again.asked == [Share(s, 2 * i, 2 * i + 2, 8) for s in range(3, 11) for i in range(4)]


def test_a_source_that_ends_is_an_error(tmp_path: Path) -> None:
    message = (
        "^The source must yield one batch for each share, but it ended before step 4 of 11. "
        "Repeat its data.$"
    )
    with pytest.raises(ValueError, match=message):
        start("regression", tmp_path, source=ToySource(length=3))


def test_more_steps_go_on_and_fewer_are_done(tmp_path: Path) -> None:
    constant = replace(settings().optimizer, schedule="constant")
    config = settings(optimizer=constant, other_optimizer=None)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start("game", whole, config=replace(config, steps=9))
    start("game", parts, config=replace(config, steps=5))
    start("game", parts, config=replace(config, steps=9))
    left, right = saved(whole), saved(parts)
    assert all(torch.equal(left[name], right[name]) for name in left)
    again = start("game", parts, config=replace(config, steps=7))
    assert (again.step, again.finished) == (9, True)


def test_measuring_draws_nothing_from_the_training(tmp_path: Path) -> None:
    """Runs that validate at other steps have the same weights."""
    start("regression", tmp_path / "often", config=settings(validate_every=1, images_every=1))
    start("regression", tmp_path / "never", config=settings(validate_every=0))
    left, right = saved(tmp_path / "often"), saved(tmp_path / "never")
    assert all(torch.equal(left[name], right[name]) for name in left)
