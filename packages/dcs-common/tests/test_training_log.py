"""What a run reports: lines of JSON, TensorBoard, and nothing from other processes."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcs_common.training import Share, World
from dcs_common.training.run_log import RunLog

from .toy_training import Game, Regression, lines, settings, train_toy


def test_steps_that_are_due_and_the_last_are_logged(tmp_path: Path) -> None:
    task = Regression()
    train_toy(task, settings(log_every=4, validate_every=5), tmp_path)
    logged = [line["step"] for line in lines(tmp_path) if "loss/model" in line]
    validated = [line["step"] for line in lines(tmp_path) if "validation/norm" in line]
    assert logged == [4, 8, 11]
    assert validated == task.validated == [5, 10, 11]
    assert [line["step"] for line in lines(tmp_path)] == [4, 5, 8, 10, 11, 11]


def test_a_line_holds_losses_gradients_rates_scalars_and_times(tmp_path: Path) -> None:
    train_toy(Game(), settings(log_every=1, validate_every=0), tmp_path)
    records = list(map(json.loads, (tmp_path / "scalars.jsonl").read_text().splitlines()))
    names = {"step", "samples", "seconds", "samples_per_second", "gradient/model", "loss/model"}
    names |= {"rate/model", "gradient/critic", "rate/critic"}
    for record in records:
        played = {"loss/critic", "real"} if record["step"] != 3 else set()
        assert record.keys() == names | played
        assert record["samples"] == 8 * record["step"]
        assert record["samples_per_second"] > 0
        assert record["rate/critic"] == pytest.approx(1.5 * record["rate/model"])
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds)


def test_nothing_is_measured_that_is_switched_off(tmp_path: Path) -> None:
    task = Regression()
    train_toy(task, settings(log_every=0, validate_every=0, checkpoint_every=0), tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [11]  # the last is always told
    assert task.validated == []
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert not (tmp_path / "checkpoint.previous.safetensors").exists()


def test_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    kept = '{"step": 3, "a": 1.5}\n{"step": 4, "a": null}\n'
    path.write_text(kept + '{"step": 5, "a": 2.5}\n{"step": 4')
    RunLog(tmp_path, 4, 11, is_main=True, progress=False).close()
    assert path.read_text() == kept
    RunLog(tmp_path, 0, 11, is_main=True, progress=False).close()
    assert path.read_text() == ""


def test_a_line_without_a_step_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    path.write_text('[]\n"x"\n{"a": 3}\n{"step": 1}\n')
    RunLog(tmp_path, 4, 11, is_main=True, progress=False).close()
    assert path.read_text() == '{"step": 1}\n'


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 11, is_main=True, progress=False)
    log.scalars(1, {"psnr": torch.inf, "other": torch.nan, "fine": 0.5})
    log.close()
    text = (tmp_path / "scalars.jsonl").read_text()
    assert text == '{"step": 1, "psnr": null, "other": null, "fine": 0.5}\n'


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def test_tensorboard_shows_each_step_once_after_a_crash(tmp_path: Path) -> None:
    def fail(share: Share) -> None:
        if share.step == 7:
            raise RuntimeError("out of memory")

    config = settings(log_every=1, images_every=2)
    task = Regression()
    task.before = fail
    with pytest.raises(RuntimeError):
        train_toy(task, config, tmp_path)
    train_toy(Regression(), config, tmp_path)
    found = events(tmp_path)
    told = {line["step"]: line["loss/model"] for line in lines(tmp_path) if "loss/model" in line}
    shown = [(event.step, event.value) for event in found.Scalars("loss/model")]
    assert shown == [(step, pytest.approx(loss)) for step, loss in sorted(told.items())]
    assert [step for step, _ in shown] == list(range(1, 12))
    images = found.Images("x")
    assert [image.step for image in images] == [2, 4, 6, 8, 10]
    assert {(image.height, image.width) for image in images} == {(4, 40)}


def test_without_tensorboard_the_lines_remain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    task = Regression()
    monkeypatch.setattr(task, "images", None)  # not called
    train_toy(task, settings(images_every=1), tmp_path / "without")
    monkeypatch.undo()
    train_toy(Regression(), settings(images_every=1), tmp_path / "with")
    assert lines(tmp_path / "without") == lines(tmp_path / "with")
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 11, is_main=False, progress=True)
    log.scalars(1, {"a": 1.0})
    log.images(1, {"x": torch.zeros(1, 3, 4, 5)})
    log.advance(0.5)
    log.close()
    assert not log.shows_images
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "is_main", "shown"),
    [
        (Terminal, True, True, True),
        (Terminal, False, True, False),
        (Terminal, True, False, False),
        (io.StringIO, True, True, False),
    ],
)
def test_the_bar_is_for_a_terminal(
    stream: type[io.StringIO],
    progress: bool,
    is_main: bool,
    shown: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = stream()
    monkeypatch.setattr(sys, "stderr", terminal)
    log = RunLog(tmp_path, 3, 11, is_main=is_main, progress=progress)
    log.advance(0.12345)
    log.advance(None)
    log.close()
    assert ("5/11" in terminal.getvalue()) is shown
    assert bool(terminal.getvalue()) is shown


def test_the_bar_follows_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    world = World(0, 1, torch.device("cpu"))
    train_toy(Regression(), settings(), tmp_path, world=world, progress=True)
    assert "11/11" in terminal.getvalue()
    assert "loss=" in terminal.getvalue()
