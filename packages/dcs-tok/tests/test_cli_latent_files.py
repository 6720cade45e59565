"""``dcs-tok info`` and ``decode`` of latent files, good and bad."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dcs_common import Latents
from dcs_tok import DCSTok

from .clip_files import moving_bars
from .commands import Command, save_tiny_model
from .tiny_models import CONFIGS, perturbed, random_pixels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def image(tiny: Path) -> Latents:
    return DCSTok.from_pretrained(tiny).encode(random_pixels(1, 3, 11, 19, dtype=torch.float32))


@pytest.fixture
def clip(tiny: Path) -> Latents:
    pixels = moving_bars(7, 11, 19).unsqueeze(0)
    return DCSTok.from_pretrained(tiny).encode(pixels, Fraction(30000, 1001))


@pytest.fixture(params=["decode", "info"])
def refusal(
    request: pytest.FixtureRequest, command: Command, tiny: Path, tmp_path: Path
) -> Callable[[Path], str]:
    """Refuse a file, whichever of the two commands is asked."""
    if request.param == "info":
        return lambda path: command.refusal("info", path)
    return lambda path: command.refusal("decode", path, tmp_path / "out.png", "--model", tiny)


def test_info_describes_an_image(image: Latents, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "latents"
    image.save(path)
    assert command.line("info", path) == (
        f"{path}: latents of 1 x 19x11; 1 x 3 x 5 patches, levels 5 to 5 (mean 5.00) of 7 "
        f"channels, float32, tokenizer {image.tokenizer}"
    )


def test_info_describes_a_clip_with_a_level_map(
    clip: Latents, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "latents"
    levels = torch.full((1, 1, 3, 5), 2)
    levels[..., 0, :] = 5
    replace(clip, tokens=clip.tokens.half(), levels=levels, tokenizer=None).save(path)
    assert command.line("info", path) == (
        f"{path}: latents of 1 x 19x11, 7 frames at 30000/1001 fps; 1 x 3 x 5 patches, levels 2 "
        "to 5 (mean 3.00) of 7 channels, float16, tokenizer None"
    )


def test_info_describes_a_batch(image: Latents, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "latents"
    replace(image, tokens=image.tokens.repeat(3, 1, 1, 1, 1, 1), levels=None).save(path)
    assert command.line("info", path).startswith(f"{path}: latents of 3 x 19x11; 1 x 3 x 5 patches")


def test_info_describes_a_model_by_folder_and_by_config(tiny: Path, command: Command) -> None:
    tok = DCSTok.from_pretrained(tiny)
    count = sum(parameter.numel() for parameter in tok.parameters()) / 1e6
    about = (
        f"DCS-Tok, {count:.2f} M parameters, 5 levels of 7 channels, k = 3, fingerprint "
        f"{tok.fingerprint}"
    )
    for path in (tiny, tiny / "config.json"):
        assert command.line("info", path) == f"{path}: {about}"


def test_info_describes_the_bundled_model(command: Command) -> None:
    said = command.line("info", "dcs-tok-nano")
    match = re.fullmatch(
        r"dcs-tok-nano: DCS-Tok, (\d+\.\d\d) M parameters, 8 levels of 16 channels, k = 16, "
        r"fingerprint [0-9a-f]{16}",
        said,
    )
    assert match
    assert float(match[1]) <= 4.05  # "about 4 M"


def test_a_missing_file(refusal: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "none"
    said = refusal(path)
    assert said == f"A latent file must exist, but {path} does not. Check the path."


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_a_file_that_was_cut_short(
    share: float, image: Latents, refusal: Callable[[Path], str], tmp_path: Path
) -> None:
    path = tmp_path / "latents"
    image.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    begin = f"A latent file must be a whole safetensors file, but {path} cannot be read ("
    end = "). It may be cut short or another kind of file; write it again."
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape(end)}", refusal(path))


def test_tensors_of_another_kind(refusal: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    assert refusal(path) == (
        f"A latent file must be of the kind 'dcs-latents', but {path} is not. "
        "Write it with `Latents.save` or `dcs-tok encode`."
    )


def _with_metadata(path: Path, **changes: str) -> None:
    """Rewrite a file with other metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**metadata, **changes})


def test_a_newer_format(image: Latents, refusal: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "latents"
    image.save(path)
    _with_metadata(path, format="2")
    assert refusal(path) == (
        f"The latent format must be 1, but {path} has format '2'. Update dcs-common."
    )


@pytest.mark.parametrize("about", ["{}", "no JSON", "[]", '{"size": [11, 19], "fps": "0/0"}'])
def test_a_file_that_contradicts_itself(
    about: str, image: Latents, refusal: Callable[[Path], str], tmp_path: Path
) -> None:
    path = tmp_path / "latents"
    image.save(path)
    _with_metadata(path, about=about)
    begin, end = f"A latent file must be consistent, but {path} is not (", "). Write it again."
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape(end)}", refusal(path))


def test_latents_of_another_tokenizer(
    image: Latents, tiny: Path, command: Command, tmp_path: Path
) -> None:
    other = perturbed(CONFIGS["nano"](), torch.float32, seed=1)
    other.save_pretrained(tmp_path / "other")
    other = DCSTok.from_pretrained(tmp_path / "other")
    image.save(tmp_path / "latents")
    arguments = ("decode", tmp_path / "latents", tmp_path / "out.png")
    assert command.refusal(*arguments, "--model", tmp_path / "other") == (
        f"Latents must come from the tokenizer that decodes them ({other.fingerprint}), "
        f"but come from {image.tokenizer}. Load that model."
    )
    assert command.line(*arguments, "--model", tiny).startswith("wrote ")


def test_a_batch(image: Latents, tiny: Path, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "latents"
    replace(image, tokens=image.tokens.repeat(2, 1, 1, 1, 1, 1), levels=None).save(path)
    assert command.refusal("decode", path, tmp_path / "out.png", "--model", tiny) == (
        f"A latent file to decode must hold one sample, but {path} holds 2. "
        "Decode batches from Python."
    )


def test_a_clip_needs_the_name_of_a_clip(
    clip: Latents, tiny: Path, command: Command, tmp_path: Path
) -> None:
    clip.save(tmp_path / "latents")
    said = command.refusal("decode", tmp_path / "latents", tmp_path / "out.png", "--model", tiny)
    assert said == "A clip's name must end in one of .mp4, .mkv, .mov, but is 'out.png'."


@pytest.mark.parametrize(
    ("fps", "message"),
    [
        (
            "1",
            "`fps` must be at least 2 (one frame per segment), but is 1. Use a rate of 2 or more, "
            "or a model with fewer segments per second.",
        ),
        *(
            (
                fps,
                f"`fps` must be a positive frame rate, but is {fps!r}. "
                "Give frames per second as a number or a fraction such as '30000/1001'.",
            )
            for fps in ("0", "-24", "fast", "", "24/0")
        ),
    ],
)
def test_rates_that_a_clip_cannot_have(
    fps: str, message: str, clip: Latents, tiny: Path, command: Command, tmp_path: Path
) -> None:
    clip.save(tmp_path / "latents")
    arguments = ("decode", tmp_path / "latents", tmp_path / "out.mp4", "--model", tiny)
    assert command.refusal(*arguments, f"--fps={fps}") == message
