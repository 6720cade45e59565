"""What commands refuse, in one line, with exit code 2 and nothing written."""

import re
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from dcs_tok import DCSTok
from dcs_tok.pictures import read_picture

from .clip_files import clip_file
from .commands import Command, contents
from .picture_files import noise, saved


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(tmp_path / "picture.png", Image.fromarray(noise(17, 19)))


@pytest.fixture(scope="module")
def bundled_latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents of a picture of 17 x 19 pixels from the bundled model."""
    folder = tmp_path_factory.mktemp("latents")
    pixels = read_picture(saved(folder / "p.png", Image.fromarray(noise(17, 19)))).pixels
    DCSTok.from_pretrained().encode(pixels).save(folder / "latents")
    return folder / "latents"


def test_a_missing_picture(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    said = command.refusal("encode", path, tmp_path / "out")
    assert said == f"A picture must exist, but {path} does not. Check the path."


def test_an_unreadable_picture(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("a text, by its name a picture")
    said = command.refusal("encode", path, tmp_path / "out")
    begin = f"The input must be a whole picture that Pillow can read, but {path} is not ("
    end = "). Convert it, or check that it was copied completely."
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape(end)}", said)


def test_an_unreadable_clip(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("a text, by its name a clip")
    said = command.refusal("encode", path, tmp_path / "out")
    begin = f"The input must be a whole clip that PyAV can read, but {path} is not ("
    end = "). Convert it, or check that it was copied completely."
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape(end)}", said)


def test_a_picture_too_small_for_the_grid(command: Command, tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.png", Image.fromarray(noise(15, 40)))
    assert command.refusal("encode", path, tmp_path / "out") == (
        "The shorter side must have at least one pixel per patch, but 40x15 has 15 pixels for "
        "16 patches. Enlarge the picture or lower `patches`."
    )


@pytest.mark.parametrize("levels", [-1, 0, 9])
def test_levels_that_the_model_has_not(
    levels: int, command: Command, picture: Path, bundled_latents: Path, tmp_path: Path
) -> None:
    message = (
        f"`levels` must be between 1 and 8, but is {levels}. This model was trained with 8 levels."
    )
    options = ("--levels", levels)
    assert command.refusal("encode", picture, tmp_path / "out", *options) == message
    assert command.refusal("decode", bundled_latents, tmp_path / "out.png", *options) == message


def test_more_patches_than_pixels(command: Command, picture: Path, tmp_path: Path) -> None:
    assert command.refusal("encode", picture, tmp_path / "out", "--patches", 18) == (
        "The shorter side must have at least one pixel per patch, but 19x17 has 17 pixels for "
        "18 patches. Enlarge the picture or lower `patches`."
    )
    said = command.refusal("encode", picture, tmp_path / "out", "--patches", 0)
    assert said == "`patches` must be at least 1, but is 0."


def test_a_range_of_frames_of_a_picture(command: Command, picture: Path, tmp_path: Path) -> None:
    said = command.refusal("encode", picture, tmp_path / "out", "--frames", "0:5")
    assert said == f"`--frames` is for clips, but {picture} is no clip by its ending. Leave it out."


def test_a_range_beyond_the_clip(command: Command, tmp_path: Path) -> None:
    clip = clip_file(tmp_path / "clip.mp4", 3, 16, 16, 24)
    assert command.refusal("encode", clip, tmp_path / "out", "--frames", "3:9") == (
        f"A clip must hold frames 3 to 9 at a known rate, but {clip} gave 0 frames at 24 fps. "
        "Give another range."
    )


def test_a_clip_of_less_than_one_frame_per_segment(command: Command, tmp_path: Path) -> None:
    clip = clip_file(tmp_path / "clip.mp4", 3, 16, 16, 5)
    assert command.refusal("encode", clip, tmp_path / "out") == (
        "`fps` must be at least 6 (one frame per segment), but is 5. Use a rate of 6 or more, or "
        "a model with fewer segments per second."
    )


@pytest.mark.parametrize("name", ["no/such/folder", "dcs-tok-huge"])
def test_an_unknown_model(
    name: str, command: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("dcs_common.pretrained.snapshot_download", unreachable)
    assert command.refusal("encode", picture, tmp_path / "out", "--model", name) == (
        "A model must be one of ['dcs-tok-nano', 'dcs-tok-nano-gen', 'dcs-tok-nano-rate'], "
        "a folder or a hub id that can be reached, but "
        f"{name!r} is none (LocalEntryNotFoundError). Check the name and the network."
    )


def test_a_folder_without_a_model(command: Command, picture: Path, tmp_path: Path) -> None:
    message = f"A model folder must hold config.json, but {tmp_path} does not. Check the path."
    said = command.refusal("encode", picture, tmp_path / "out", "--model", tmp_path)
    assert said == message
    assert command.refusal("info", tmp_path) == message


@pytest.mark.parametrize("device", ["abacus", "", "meta", "cpu:x"])
def test_a_device_that_the_machine_has_not(
    device: str, command: Command, picture: Path, tmp_path: Path
) -> None:
    said = command.refusal("encode", picture, tmp_path / "out", "--device", device)
    begin = f"`--device` must name a device of this machine, but is {device!r} ("
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape('). Use cpu.')}", said)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_of_too_many_bits(
    seed: int, command: Command, picture: Path, tmp_path: Path
) -> None:
    said = command.refusal("encode", picture, tmp_path / "out", "--seed", seed)
    assert said == f"`--seed` must fit into 64 bits, but is {seed}. Choose another."


def test_outputs_that_cannot_be_files(
    command: Command, picture: Path, bundled_latents: Path, tmp_path: Path
) -> None:
    for arguments in (("encode", picture), ("decode", bundled_latents)):
        assert command.refusal(*arguments, tmp_path) == (
            f"The output must be a file, but {tmp_path} is a folder. Name a file in it."
        )
        assert command.refusal(*arguments, tmp_path / "none" / "out.png") == (
            f"The output's folder must exist, but {tmp_path / 'none'} does not. Create it first."
        )


def test_a_picture_is_not_decoded_to_a_clip(
    command: Command, bundled_latents: Path, tmp_path: Path
) -> None:
    assert command.refusal("decode", bundled_latents, tmp_path / "out.mp4") == (
        "A picture's name must end in one of .png, .webp, .jpg, .jpeg, .tif, .tiff, .bmp, but is "
        "'out.mp4'."
    )


def test_a_rate_for_a_picture(command: Command, bundled_latents: Path, tmp_path: Path) -> None:
    said = command.refusal("decode", bundled_latents, tmp_path / "out.png", "--fps", 24)
    assert said == "Images have no frame rate, but `fps` is 24. Leave it out."


def test_a_size_below_one_pixel_per_patch(
    command: Command, bundled_latents: Path, tmp_path: Path
) -> None:
    said = command.refusal("decode", bundled_latents, tmp_path / "out.png", "--size", "30x15")
    assert said == (
        "A grid of 18x16 patches needs at least one pixel per patch, but the size is 30x15. "
        "Ask for a larger size or use fewer `patches`."
    )


def test_a_full_disk_leaves_nothing(
    command: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = command.refusal("encode", picture, tmp_path / "out")
    assert said == "[Errno 28] No space left on device"


def test_a_result_that_does_not_fit_into_memory(
    command: Command, bundled_latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DCSTok, "decode", lambda *arguments: torch.empty(2**60))
    said = command.refusal("decode", bundled_latents, tmp_path / "out.png")
    begin = "The result must fit into memory, but does not ("
    end = "). Ask for a smaller size or rate, or for fewer frames."
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape(end)}", said)


def test_an_error_of_our_own_is_not_hidden(
    command: Command, bundled_latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DCSTok, "decode", lambda *arguments: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        command("decode", bundled_latents, tmp_path / "out.png")
    assert contents(tmp_path) == {}


def test_an_interrupted_command_says_so(
    command: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DCSTok, "encode", interrupt)
    finished = command("encode", picture, tmp_path / "out")
    assert (finished.code, finished.out) == (130, "")
    assert finished.err == "dcs-tok: interrupted; nothing was written\n"
    assert set(contents(tmp_path)) == {picture}
