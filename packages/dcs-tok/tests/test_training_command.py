"""``dcs-tok train`` from a folder of pictures to a model folder, whatever happens on the way."""

import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dcs_common import psnr
from dcs_tok import DCSTok
from dcs_tok.pictures import read_picture

from .commands import Command
from .picture_files import small_photo
from .random_trunk import random_trunk
from .training_runs import finished, in_process, photos

TINY = ("train", "nano", "--tiny", "--clip-share", "0", "--batch-size", "4")


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    with safe_open(run / "checkpoint.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_run_ends_with_a_model_that_loads(command: Command, tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    said = command.line(*TINY, "--data", data, "--output", run, "--steps", 3)
    assert said.startswith(f"wrote {run / 'model'}: nano (tiny), 3 steps, 12 samples, ")
    tok = DCSTok.from_pretrained(run / "model")
    pixels = read_picture(data / "0.png").pixels
    assert tok.decode(tok.encode(pixels)).shape == pixels.shape
    statistics = json.loads((run / "model" / "latent_statistics.json").read_text())
    assert statistics["tokenizer"] == tok.fingerprint
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"]["training"]["batch_size"] == 4
    steps = [json.loads(line)["step"] for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert steps == [3]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    data = photos(tmp_path / "data")
    arguments = (*TINY, "--data", data, "--steps", 80, "--batch-size", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = in_process(*arguments, "--output", whole)
    process = in_process(*arguments, "--output", killed)
    while not (killed / "checkpoint.safetensors").exists():  # written after 50 steps
        time.sleep(0.02)
        assert process.poll() is None
    time.sleep(random.Random(0).random() * 0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "model").exists()
    finished(in_process(*arguments, "--output", killed))
    finished(undisturbed)
    expected, found = _tensors(whole), _tensors(killed)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    for file in ("model.safetensors", "latent_statistics.json", "config.json"):
        assert (killed / "model" / file).read_bytes() == (whole / "model" / file).read_bytes()
    steps = [
        [json.loads(line)["step"] for line in (run / "scalars.jsonl").read_text().splitlines()]
        for run in (whole, killed)
    ]
    assert steps[0] == steps[1] == list(range(10, 90, 10))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    data = photos(tmp_path / "data")
    arguments = (*TINY, "--data", data, "--steps", 3, "--precision", "float32")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    alone = in_process(*arguments, "--output", tmp_path / "one")
    first, second = (
        in_process(
            *arguments, "--output", tmp_path / "two", RANK=str(r), LOCAL_RANK=str(r), **world
        )
        for r in range(2)
    )
    said = second.communicate()
    assert (second.returncode, said[0]) == (0, ""), said
    said = first.communicate()
    assert first.returncode == 0, said
    assert said[0].count("\n") == 1
    finished(alone)
    expected = load_file(tmp_path / "one" / "model" / "model.safetensors")
    found = load_file(tmp_path / "two" / "model" / "model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=2e-4, msg=name)


@pytest.mark.slow
def test_the_paper_s_stages_follow_one_another(command: Command, tmp_path: Path) -> None:
    data, trunk = photos(tmp_path / "data"), tmp_path / "trunk.safetensors"
    save_file(random_trunk(), trunk)
    common = ("--tiny", "--data", data, "--steps", 2, "--batch-size", 2, "--clip-share", 0)
    common += ("--perceptual-trunk", "squeeze", "--trunk-weights", trunk)
    before: tuple[object, ...] = ()
    for stage in ("stage-1", "stage-2", "stage-3", "stage-3-decoder"):
        run = tmp_path / stage
        finished = command("train", stage, *common, *before, "--output", run)
        assert finished.code == 0, finished.err
        if stage == "stage-2":
            assert "grown from 4 levels to 8" in finished.err
        before = ("--init-from", run / "model")
    logged = json.loads((run / "scalars.jsonl").read_text().splitlines()[-1])
    assert {"perceptual", "adversarial", "margin", "loss/discriminator"} <= logged.keys()
    third = DCSTok.from_pretrained(tmp_path / "stage-3" / "model")
    assert DCSTok.from_pretrained(run / "model").fingerprint == third.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "rate"), [("nano", "2e-3"), ("stage-1", "3e-3")])
def test_a_tiny_run_overfits_a_photo_by_6_db(
    recipe: str, rate: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    photo = small_photo(tmp_path / "data" / "photo.png", 64, 64)
    common = ("train", recipe, "--tiny", "--data", tmp_path / "data", "--clip-share", 0)
    common += ("--batch-size", 1, "--precision", "float32", "--no-perceptual")
    pixels = read_picture(photo).pixels
    quality = []
    for steps in (1, 60):
        run = tmp_path / str(steps)
        command.line(*common, "--steps", steps, "--output", run, "--learning-rate", rate)
        tok = DCSTok.from_pretrained(run / "model")
        quality.append(psnr(tok.decode(tok.encode(pixels, patches=4)), pixels))
    mean_colour = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    assert quality[1] > quality[0] + 6
    assert quality[1] > psnr(mean_colour, pixels) + 2


def test_a_damaged_picture_is_passed_over(command: Command, tmp_path: Path, caplog) -> None:
    data = photos(tmp_path / "data", 9)
    (data / "bad.png").write_bytes((data / "0.png").read_bytes()[:300])
    said = command.line(*TINY, "--data", data, "--output", tmp_path / "run", "--steps", 3)
    assert said.startswith("wrote ")
    assert "bad.png" in caplog.text


def test_refusals(command: Command, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    Image.new("RGB", (70, 70)).save(tmp_path / "one.png")
    run = ("--output", tmp_path / "run")
    said = command.refusal("train", "nano", *run)
    assert said == "`--data` must name pictures, but is empty. Give folders, zips or shards."
    assert "must hold a" in command.refusal(*TINY, "--data", empty, *run)
    assert "must hold a clip" in command.refusal(
        "train", "nano", "--data", tmp_path / "one.png", *run
    )
    assert "--samples-per-shard" in command.refusal(*TINY, "--data", "a.tar", *run)
    said = command.refusal(
        "train", "stage-1", "--tiny", "--data", tmp_path / "one.png", *run,
        "--trunk-weights", tmp_path / "none.pth",
    )  # fmt: skip
    assert "none.pth" in said
    assert "invalid choice" in command.misuse("train", "stage-9")


def test_another_recipe_s_folder_is_refused(command: Command, tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data"), tmp_path / "run"
    arguments = (*TINY, "--data", data, "--output", run, "--steps", 2)
    command.line(*arguments)
    said = command(*arguments, "--precision", "float32")
    assert said.code == 2
    assert 'training.precision ("bfloat16" there, "float32" here)' in said.err
    assert command.line(*arguments, "--steps", 4).startswith("wrote ")


def test_the_plan_comes_before_anything_runs(command: Command, tmp_path: Path) -> None:
    said = command("train", "nano", "--tiny", "--clip-share", 0, "--plan").out
    for word in ("latent tokens", "FLOPs", "activations", "parameters", "GB", "s a step"):
        assert word in said
    assert list(tmp_path.iterdir()) == []
