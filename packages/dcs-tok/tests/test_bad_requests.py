"""What `decode` refuses, all at once or level by level, each with one message that teaches."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcs_common import Latents

from .errors import error
from .tiny_models import CHANNELS, LEVELS, model, random_pixels


@pytest.fixture(params=["decode", "decode_progressive"])
def decode(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Decode with the one or the other; previews are checked when the first is asked for."""
    method = getattr(model("nano"), request.param)
    if request.param == "decode":
        return method
    return lambda *args, **kwargs: next(method(*args, **kwargs))


@pytest.fixture(scope="module")
def image() -> Latents:
    """Latents of a grid of 3 x 5 patches."""
    return model("nano").encode(random_pixels(2, 3, 7, 11))


@pytest.fixture(scope="module")
def clip() -> Latents:
    """Latents of two segments."""
    return model("nano").encode(random_pixels(1, 3, 5, 7, 11), fps=5)


@pytest.mark.parametrize("size", [(2, 50), (50, 4), (1, 1)])
def test_sizes_below_one_pixel_per_patch(
    decode: Callable[..., object], image: Latents, size: tuple[int, int]
) -> None:
    message = (
        "A grid of 5x3 patches needs at least one pixel per patch, but the size is "
        f"{size[1]}x{size[0]}. Ask for a larger size or use fewer `patches`."
    )
    with error(message):
        decode(image, size=size)


@pytest.mark.parametrize(
    "size", [64, (64,), (3, 64, 64), (64, 0), (-64, 64), (64.5, 64), (64, float("inf")), "64x64"]
)
def test_what_is_no_size(decode: Callable[..., object], image: Latents, size: object) -> None:
    with error(f"`size` must be (height, width) in whole pixels, but is {size!r}."):
        decode(image, size=size)


@pytest.mark.parametrize("levels", [0, LEVELS + 1])
def test_more_levels_than_the_latents_hold(
    decode: Callable[..., object], image: Latents, levels: int
) -> None:
    message = (
        f"`levels` must be between 1 and 5, but is {levels}. This model was trained with 5 levels."
    )
    with error(message):
        decode(image, levels=levels)


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (3, 5)])
def test_level_maps_of_another_shape(
    decode: Callable[..., object], image: Latents, shape: tuple[int, ...]
) -> None:
    message = (
        "A level map must have the shape (2, 1, 3, 5) or (1, 3, 5) of the patch grid, but "
        f"has {shape}. Make one count per patch."
    )
    with error(message):
        decode(image, levels=torch.ones(shape, dtype=torch.int64))


def test_float_level_maps(decode: Callable[..., object], image: Latents) -> None:
    message = (
        "A level map must hold integers, but its dtype is torch.float32. Convert it with `.long()`."
    )
    with error(message):
        decode(image, levels=torch.ones(2, 1, 3, 5))


def test_a_rate_for_an_image(decode: Callable[..., object], image: Latents) -> None:
    with error("Images have no frame rate, but `fps` is 24. Leave it out."):
        decode(image, fps=24)


def test_a_rate_below_one_frame_per_segment(decode: Callable[..., object], clip: Latents) -> None:
    message = (
        "`fps` must be at least 2 (one frame per segment), but is 1. Use a rate of 2 or more, "
        "or a model with fewer segments per second."
    )
    with error(message):
        decode(clip, fps=1)


def test_what_is_no_rate(decode: Callable[..., object], clip: Latents) -> None:
    message = (
        "`fps` must be a positive frame rate, but is 0. "
        "Give frames per second as a number or a fraction such as '30000/1001'."
    )
    with error(message):
        decode(clip, fps=0)


def _latents(*, levels: int = LEVELS, channels: int = CHANNELS) -> Latents:
    return Latents(tokens=random_pixels(1, 1, 3, 5, levels, channels), size=(7, 11))


def test_latents_with_other_channels(decode: Callable[..., object]) -> None:
    message = (
        "Latents must have 7 channels for this model, but have 11. "
        "Decode them with the model that made them."
    )
    with error(message):
        decode(_latents(channels=11))


def test_latents_with_more_levels_than_the_model(decode: Callable[..., object]) -> None:
    message = (
        "Latents must have at most 5 levels for this model, but have 8. "
        "Cut them with `take_levels` or use their own model."
    )
    with error(message):
        decode(_latents(levels=8))


def test_latents_with_fewer_levels_than_the_model_are_no_mistake() -> None:
    pixels: Tensor = model("nano").decode(_latents(levels=2))
    assert pixels.shape == (1, 3, 7, 11)


def test_latents_whose_frames_do_not_fit_their_segments(
    decode: Callable[..., object], clip: Latents
) -> None:
    longer = torch.cat([clip.tokens] * 3, dim=1)
    wrong = replace(clip, tokens=longer, levels=None)
    message = (
        "The frames must fit the 6 segments, but 5 frames at 5 fps make 2. "
        "Correct the number of frames or the rate."
    )
    with error(message):
        decode(wrong)
