"""What ``dcs-tok train`` refuses: one message, exit code 2, and nothing is written."""

import re
from pathlib import Path

import pytest
from PIL import Image

from dcs_tok.data.sources import ENDINGS
from dcs_tok.training import RECIPES

from .commands import Command, contents, save_tiny_model
from .training_runs import photos

TINY = ("train", "nano", "--tiny", "--clip-share", "0", "--batch-size", "4")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    Image.new("RGB", (70, 71), (10, 200, 30)).save(path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> tuple[str, Path]:
    return "--output", tmp_path / "run"


def test_no_data(command: Command, run: tuple[str, Path]) -> None:
    said = command.refusal("train", "nano", *run)
    assert said == "`--data` must name pictures, but is empty. Give folders, zips or shards."


def test_an_empty_folder(command: Command, tmp_path: Path, run: tuple[str, Path]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert command.refusal(*TINY, "--data", empty, *run) == (
        f"The sources must hold a picture, but ['{empty}'] hold none of "
        f"{', '.join(ENDINGS['picture'])}. Name others, or change `clip_share`."
    )


def test_a_folder_that_is_not_there(
    command: Command, tmp_path: Path, run: tuple[str, Path]
) -> None:
    said = command.refusal(*TINY, "--data", tmp_path / "gone", *run)
    assert said == (
        f"Every source must be a folder, a zip or one of "
        f"{', '.join(sorted(ENDINGS['picture'] + ENDINGS['clip']))}, but is "
        f"'{tmp_path / 'gone'}'. Name existing ones."
    )


def test_a_share_of_clips_without_clips(
    command: Command, picture: Path, run: tuple[str, Path]
) -> None:
    assert command.refusal("train", "nano", "--tiny", "--data", picture, *run) == (
        f"The sources must hold a clip, but ['{picture}'] hold none of "
        f"{', '.join(ENDINGS['clip'])}. Name others, or change `clip_share`."
    )


def test_a_share_of_clips_out_of_range(
    command: Command, picture: Path, run: tuple[str, Path]
) -> None:
    said = command.refusal("train", "nano", "--tiny", "--clip-share", 1.5, "--data", picture, *run)
    assert said == "`clip_share` must be in [0, 1], but is 1.5."


def test_an_unknown_recipe(command: Command, picture: Path, run: tuple[str, Path]) -> None:
    said = command.misuse("train", "stage-9", "--data", picture, *run)
    assert re.match("argument recipe: invalid choice: 'stage-9'", said)
    for name in RECIPES:
        assert name in said


def test_shards_without_their_size(command: Command, run: tuple[str, Path]) -> None:
    assert command.refusal(*TINY, "--data", "a.tar", *run) == (
        "`--samples-per-shard` must be given for WebDataset shards, but is not. It decides "
        "where a run goes on in them; take the number in a full shard."
    )


def test_missing_weights_of_the_perceptual_loss(
    command: Command, tmp_path: Path, picture: Path, run: tuple[str, Path]
) -> None:
    gone = tmp_path / "none.pth"
    said = command.refusal(
        "train", "stage-1", "--tiny", "--data", picture, *run, "--trunk-weights", gone
    )
    assert said == f"A file of weights must exist, but {gone} does not. Check the path."


def test_a_start_that_is_of_another_kind(
    command: Command, tmp_path: Path, picture: Path, run: tuple[str, Path]
) -> None:
    model = save_tiny_model(tmp_path / "model")
    said = command.refusal(*TINY, "--data", picture, *run, "--init-from", model)
    assert said.startswith(
        f"A run must start from a model of its own kind, but {model} differs in num_levels (5 "
        "there, 8 here), "
    )
    assert said.endswith("Choose the model that the recipe names, or train without `--init-from`.")


def test_a_batch_that_cannot_be_divided(
    command: Command, picture: Path, run: tuple[str, Path]
) -> None:
    said = command.refusal(*TINY, "--data", picture, *run, "--accumulate", 3)
    assert said == (
        "`batch_size` must be a multiple of processes times `accumulate`, but is 4 for 1 "
        "processes and `accumulate` 3. Change one of them."
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--steps", 0), "`steps` must be at least 1, but is 0."),
        (("--batch-size", -4), "`batch_size` must be at least 1, but is -4."),
        (
            ("--seed", 2**70),
            f"`--seed` must fit into 64 bits, but is {2**70}. Choose another.",
        ),
    ],
)
def test_numbers_out_of_range(
    option: tuple[str, int], message: str, command: Command, picture: Path, run: tuple[str, Path]
) -> None:
    assert command.refusal(*TINY, *option, "--data", picture, *run) == message


def test_a_device_that_is_not_there(command: Command, picture: Path, run: tuple[str, Path]) -> None:
    said = command.refusal(*TINY, "--data", picture, *run, "--device", "sun")
    assert said.startswith("`--device` must name a device of this machine, but is 'sun' (")
    assert said.endswith("). Use cpu.")


@pytest.mark.parametrize("place", ["one.png", "one.png/run"])
def test_an_output_that_cannot_be_written(
    place: str, command: Command, tmp_path: Path, picture: Path
) -> None:
    output = tmp_path / place
    reason = "File exists" if output == picture else "Not a directory"
    assert command.refusal(*TINY, "--data", picture, "--output", output) == (
        f"The output must be a folder that can be made, but {output} cannot be ({reason}). Name "
        "another with `--output`."
    )


def test_another_run_s_folder_stays_as_it_is(
    command: Command, tmp_path: Path, run: tuple[str, Path]
) -> None:
    data = photos(tmp_path / "data")
    arguments = (*TINY, "--data", data, *run, "--steps", 2)
    command.line(*arguments)
    before = contents(tmp_path)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    assert command.refusal(*arguments, "--precision", "float32") == (
        f"A run must go on from its own checkpoint, but {checkpoint} differs in "
        'training.precision ("bfloat16" there, "float32" here). Use another folder, or the '
        "settings that it was made with."
    )
    (data / "another.png").write_bytes((data / "0.png").read_bytes())
    said = command.refusal(*arguments)
    assert f"but {checkpoint} differs in data (" in said
    (data / "another.png").unlink()
    assert contents(tmp_path) == before
    assert command.line(*arguments, "--steps", 4).startswith("wrote ")


def test_pictures_of_which_none_can_be_read(
    command: Command, tmp_path: Path, run: tuple[str, Path]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    finished = command(*TINY, "--data", bad, *run)
    assert (finished.code, finished.out) == (2, "")
    reason = f"{bad} (Pillow cannot identify it)"
    assert finished.err.startswith("dcs-tok: error: Of ")
    assert reason in finished.err
    assert finished.err.count("\n") == 1
    assert not (tmp_path / "run" / "model").exists()
