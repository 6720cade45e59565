"""What `encode` and training refuse, each with one message that teaches."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dcs_tok import DCSTok

from .errors import error
from .tiny_models import LEVELS, model, random_pixels

IMAGE = random_pixels(2, 3, 7, 11)
CLIP = random_pixels(2, 3, 5, 7, 11)


@pytest.fixture(params=["encode", "forward"])
def call(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Both ways in check alike."""
    tok: DCSTok = model("nano")
    return getattr(tok, request.param)


SHAPE = (
    "`pixels` must have the shape (b, 3, H, W) for images or (b, 3, T, H, W) for clips, "
    "but is {}. Add a batch axis, and convert to RGB."
)


@pytest.mark.parametrize("shape", [(3, 7, 11), (7, 11), (2, 1, 7, 11), (2, 7, 11, 3), (2,) * 6])
def test_wrong_shapes(call: Callable[..., object], shape: tuple[int, ...]) -> None:
    with error(SHAPE.format(shape)):
        call(torch.zeros(shape))


def test_what_is_no_tensor(call: Callable[..., object]) -> None:
    with error(SHAPE.format("ndarray")):
        call(IMAGE.numpy())
    with error(SHAPE.format("NoneType")):
        call(None)


@pytest.mark.parametrize("shape", [(0, 3, 7, 11), (2, 3, 0, 11), (2, 3, 0, 7, 11)])
def test_empty_pixels(call: Callable[..., object], shape: tuple[int, ...]) -> None:
    with error(f"`pixels` must not be empty, but has the shape {shape}."):
        call(torch.zeros(shape), fps=5 if len(shape) == 5 else None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_integers(call: Callable[..., object], dtype: torch.dtype) -> None:
    message = (
        f"`pixels` must be floats in [0, 1], but the dtype is {dtype}. "
        "Convert with `pixels.float() / 255`."
    )
    with error(message):
        call(IMAGE.to(dtype))


def _with(value: float) -> Tensor:
    pixels = IMAGE.clone()
    pixels[0, 0, 0, 0], pixels[1, 2, 6, 10] = 0.0, 1.0
    pixels[1, 1, 3, 5] = value
    return pixels


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (255.0, "0", "255"),
        (-1.0, "-1", "1"),
        (1.25, "0", "1.25"),
        (float("nan"), "nan", "nan"),
        (float("inf"), "0", "inf"),
        (float("-inf"), "-inf", "1"),
    ],
)
def test_values_outside_the_range(
    call: Callable[..., object], value: float, low: str, high: str
) -> None:
    message = (
        f"`pixels` must be finite and in [0, 1], but range from {low} to {high}. "
        "Scale or clamp them, and remove NaN."
    )
    with error(message):
        call(_with(value))


def test_rounding_just_outside_the_range_is_no_mistake(call: Callable[..., object]) -> None:
    assert call(_with(1.0005)) is not None
    assert call(_with(-0.0005)) is not None


def test_a_clip_without_a_rate(call: Callable[..., object]) -> None:
    message = "A clip needs its frame rate, but `fps` is None for 5 frames. Pass `fps`."
    with error(message):
        call(CLIP)


def test_an_image_with_a_rate(call: Callable[..., object]) -> None:
    message = (
        "Images have no frame rate, but `fps` is 25. "
        "Leave it out, or pass a clip of shape (b, 3, T, H, W)."
    )
    with error(message):
        call(IMAGE, fps=25)


@pytest.mark.parametrize("fps", [0, -24, float("nan"), float("inf"), "fast", "1/0", (24, 1)])
def test_what_is_no_rate(call: Callable[..., object], fps: object) -> None:
    message = (
        f"`fps` must be a positive frame rate, but is {fps!r}. "
        "Give frames per second as a number or a fraction such as '30000/1001'."
    )
    with error(message):
        call(CLIP, fps=fps)


def test_a_rate_below_one_frame_per_segment(call: Callable[..., object]) -> None:
    message = (
        "`fps` must be at least 2 (one frame per segment), but is 1.98. Use a rate of 2 or more, "
        "or a model with fewer segments per second."
    )
    with error(message):
        call(CLIP, fps=1.98)


def test_a_side_shorter_than_the_grid(call: Callable[..., object]) -> None:
    message = (
        "The shorter side must have at least one pixel per patch, but 11x7 has 7 pixels for "
        "8 patches. Enlarge the picture or lower `patches`."
    )
    with error(message):
        call(IMAGE, patches=8)
    message = (
        "The shorter side must have at least one pixel per patch, but 2x23 has 2 pixels for "
        "3 patches. Enlarge the picture or lower `patches`."
    )
    with error(message):
        call(random_pixels(1, 3, 23, 2))


@pytest.mark.parametrize("patches", [0, -3])
def test_no_patches(call: Callable[..., object], patches: int) -> None:
    with error(f"`patches` must be at least 1, but is {patches}."):
        call(IMAGE, patches=patches)


COUNT = "`levels` must be between 1 and 5, but is {}. This model was trained with 5 levels."


@pytest.mark.parametrize("levels", [0, -1, LEVELS + 1, 99])
def test_level_counts_the_model_does_not_have(call: Callable[..., object], levels: int) -> None:
    with error(COUNT.format(levels)):
        call(IMAGE, levels=levels)
    level_map = torch.full((2, 1, 3, 5), 2)
    level_map[1, 0, 2, 4] = levels
    with error(COUNT.format(levels)):
        call(IMAGE, levels=level_map)


@pytest.mark.parametrize("levels", [2.0, "2", True, [2]])
def test_level_counts_that_are_no_integers(call: Callable[..., object], levels: object) -> None:
    message = (
        f"`levels` must be an integer or an integer tensor, but is {levels!r}. "
        "Give a count from 1 to 5."
    )
    with error(message):
        call(IMAGE, levels=levels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_level_maps_that_hold_no_integers(call: Callable[..., object], dtype: torch.dtype) -> None:
    message = (
        f"A level map must hold integers, but its dtype is {dtype}. Convert it with `.long()`."
    )
    with error(message):
        call(IMAGE, levels=torch.ones(2, 1, 3, 5, dtype=dtype))


@pytest.mark.parametrize("shape", [(2, 1, 5, 3), (3, 5), (1, 1, 3, 5), (2, 3, 5), ()])
def test_level_maps_of_another_shape(call: Callable[..., object], shape: tuple[int, ...]) -> None:
    message = (
        "A level map must have the shape (2, 1, 3, 5) or (1, 3, 5) of the patch grid, but "
        f"has {shape}. Make one count per patch."
    )
    with error(message):
        call(IMAGE, levels=torch.ones(shape, dtype=torch.int64))


def test_an_anchor_that_does_not_exist() -> None:
    with error("`anchor` must be 'end' or 'start', but is 'middle'."):
        model("nano").encode(CLIP, fps=5, anchor="middle")
