"""What a run says and leaves behind: with every loss, on clips, stopped half-way."""

import json
import logging
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcs_tok import DCSTok
from dcs_tok.pictures import read_picture

from .clip_files import clip_file
from .commands import Command
from .random_trunk import random_trunk
from .training_runs import in_process, photos

TINY = ("train", "nano", "--tiny", "--clip-share", "0", "--batch-size", "4")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Options for a perceptual loss that needs no download."""
    file = tmp_path_factory.mktemp("trunk") / "squeezenet.safetensors"
    save_file(random_trunk(), file)
    return "--perceptual-trunk", "squeeze", "--trunk-weights", file


def _scalars(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]


def test_stage_1_trains_on_l2_and_perceptual_loss(
    command: Command, tmp_path: Path, trunk: tuple[object, ...]
) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    said = command.line(
        "train", "stage-1", "--tiny", "--data", data, "--output", run, *trunk,
        "--steps", 2, "--batch-size", 3,
    )  # fmt: skip
    assert said.startswith(f"wrote {run / 'model'}: stage-1 (tiny), 2 steps, 6 samples, ")
    (last,) = _scalars(run)
    assert last["loss/tokenizer"] == pytest.approx(last["reconstruction"] + last["perceptual"])
    assert min(last["reconstruction"], last["perceptual"]) > 0
    assert (last["rate/tokenizer"], last["samples"], last["step"]) == (1e-4, 6, 2)
    tok = DCSTok.from_pretrained(run / "model")
    assert tok.config.num_levels == 4
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"]["losses"]["perceptual_trunk"] == "squeeze"
    assert record["arguments"]["recipe"] == "stage-1"
    assert record["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("kind", ["clips", "pictures"])
def test_clips_train_what_pictures_leave_alone(kind: str, command: Command, tmp_path: Path) -> None:
    clip = clip_file(tmp_path / "bars.mp4", 13, 64, 72, 24)
    data, share = (clip, 1) if kind == "clips" else (photos(tmp_path / "data"), 0)
    run = tmp_path / "run"
    command.line(
        "train", "nano", "--tiny", "--clip-share", share, "--data", data, "--output", run,
        "--steps", 2, "--batch-size", 2,
    )  # fmt: skip
    torch.manual_seed(0)
    start = DCSTok(DCSTok.from_pretrained(run / "model").config).state_dict()
    moved = {
        name
        for name, tensor in load_file(run / "model" / "model.safetensors").items()
        if not torch.equal(tensor, start[name])
    }
    for half in ("encoder_networks", "decoder_networks"):
        assert any(name.startswith(f"{half}.moving.") for name in moved) == (kind == "clips")
    assert kind == "clips" or any(name.startswith("decoder_networks.still.") for name in moved)
    counts = json.loads((run / "model" / "latent_statistics.json").read_text())["tokens"]
    assert len(set(counts)) == 1  # all levels of all patches
    assert counts[0] % (2 * 16) == 0
    # Two steps of two pictures of 16 patches; clips have several segments.
    assert counts[0] > 2 * 2 * 16 if kind == "clips" else counts[0] == 2 * 2 * 16


def test_the_run_is_validated_with_averaged_weights(command: Command, tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    picture = data / "0.png"
    command.line(*TINY, "--data", data, "--output", run, "--steps", 2, "--validate", picture)
    (found,) = [line for line in _scalars(run) if "validation/psnr_8" in line]
    assert found["step"] == 2
    tok, pixels = DCSTok.from_pretrained(run / "model"), read_picture(picture).pixels
    for levels in (1, 4, 8):
        decoded = tok.decode(tok.encode(pixels), levels=levels)
        expected = -10 * (decoded.double() - pixels.double()).square().mean().log10()
        assert found[f"validation/psnr_{levels}"] == pytest.approx(float(expected), abs=1e-3)


def test_a_finished_run_is_not_run_again(command: Command, tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    arguments = (*TINY, "--data", data, "--output", run, "--steps", 2)
    command.line(*arguments)
    model = (run / "model" / "model.safetensors").read_bytes()
    scalars = _scalars(run)
    assert command.line(*arguments).startswith(f"wrote {run / 'model'}: nano (tiny), 2 steps, ")
    assert (run / "model" / "model.safetensors").read_bytes() == model
    assert _scalars(run) == scalars


def test_a_start_is_named_and_taken(command: Command, tmp_path: Path) -> None:
    data = photos(tmp_path / "data")
    first = tmp_path / "first" / "model"
    command.line(*TINY, "--data", data, "--output", first.parent, "--steps", 1)
    arguments = (*TINY, "--data", data, "--output", tmp_path / "second", "--steps", 1)
    finished = command(*arguments, "--init-from", first, "--learning-rate", 0)
    assert (finished.code, finished.err) == (0, f"dcs-tok: started from {first}\n")
    expected = load_file(first / "model.safetensors")
    for name, tensor in load_file(tmp_path / "second" / "model" / "model.safetensors").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-6, msg=name)


def test_a_damaged_picture_is_named(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = photos(tmp_path / "data", 5)
    (data / "bad.png").write_bytes((data / "0.png").read_bytes()[:300])
    with caplog.at_level(logging.WARNING):
        command.line(*TINY, "--data", data, "--output", tmp_path / "run", "--steps", 6)
    # In training, however often, and when the latents are measured.
    (named,) = {record.getMessage() for record in caplog.records}
    assert len(caplog.records) <= 2
    assert named.startswith(f"skipped an unreadable sample: {data / 'bad.png'} (")


@pytest.mark.slow
def test_a_stop_request_saves_and_says_so(tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    process = in_process(*TINY, "--data", data, "--output", run, "--steps", 5000)
    while not (run / "scalars.jsonl").exists():
        time.sleep(0.02)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    step = int(out.split()[3])
    assert out == f"stopped at step {step} of 5000; run again to go on\n"
    assert step < 5000
    assert (run / "checkpoint.safetensors").exists()
    assert not (run / "model").exists()
