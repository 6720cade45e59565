"""Windows and frames: what the perceptual loss and the discriminator are shown."""

import pytest
import torch

from dcs_tok.losses.frames import frames_of
from dcs_tok.losses.windows import crop_windows

from .errors import error
from .tiny_models import random_pixels


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def places(height: int, width: int, samples: int, frames: int | None = None) -> torch.Tensor:
    """Pictures whose pixels hold their own row and column, so that windows tell where they are."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture = torch.stack([row, column, torch.zeros_like(row)])
    if frames is not None:
        picture = picture[:, None].expand(-1, frames, -1, -1)
    return picture.expand(samples, *picture.shape)


def test_windows_are_whole_cut_alike_and_their_own_in_each_sample() -> None:
    clip = places(23, 11, samples=3, frames=2)
    first, second = crop_windows((clip, clip + 100), 13, generators(0, 1, 2))
    assert first.shape == (3, 3, 2, 13, 11)
    assert torch.equal(second, first + 100)
    tops = first[:, 0, 0, 0, 0]
    for window, top in zip(first, tops, strict=True):
        assert torch.equal(window, clip[0, :, :, top : top + 13])
    assert len(set(tops.tolist())) > 1


def test_every_place_is_drawn_equally_often() -> None:
    picture = places(7, 9, samples=1)
    (generator,) = source = generators(3)
    corners = [
        tuple(crop_windows([picture], 5, source)[0][0, :2, 0, 0].tolist()) for _ in range(3000)
    ]
    assert generator.initial_seed() == 3
    counts = [corners.count((top, left)) for top in range(3) for left in range(5)]
    assert sum(counts) == 3000
    assert all(abs(count - 200) < 5 * 200**0.5 for count in counts)


def test_batch_mates_do_not_matter() -> None:
    pictures = random_pixels(3, 3, 23, 29)
    together = crop_windows([pictures], 7, generators(4, 5, 6))[0]
    alone = crop_windows([pictures[1:2]], 7, generators(5))[0]
    assert torch.equal(together[1:2], alone)


def test_small_pictures_stay_whole_and_need_no_generator() -> None:
    picture = random_pixels(2, 3, 7, 11)
    assert crop_windows([picture], 11, None)[0] is picture


@pytest.mark.parametrize(
    ("given", "found"),
    [(None, "None"), (generators(0), "1 for 2 samples"), ([], "0 for 2 samples")],
)
def test_generators_are_asked_for(given: list[torch.Generator] | None, found: str) -> None:
    message = (
        "Windows of 10 pixels from pictures of 11x7 need one generator per sample, but "
        f"`generators` is {found}. Pass one for each, or a larger `max_size`."
    )
    with error(message):
        crop_windows([random_pixels(2, 3, 7, 11)], 10, given)


def test_frames_of_clips_follow_one_another_sample_by_sample() -> None:
    clip = random_pixels(2, 3, 5, 7, 11)
    frames = frames_of(clip)
    assert frames.shape == (10, 3, 7, 11)
    for sample in range(2):
        for frame in range(5):
            assert torch.equal(frames[5 * sample + frame], clip[sample, :, frame])
    picture = random_pixels(2, 3, 7, 11)
    assert frames_of(picture) is picture


@pytest.mark.parametrize("shape", [(3, 7, 11), (2, 1, 7, 11), (2, 5, 3, 7, 11)])
def test_shapes_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    message = (
        "Pixels must have the shape (b, 3, H, W) for images or (b, 3, T, H, W) for clips, "
        f"but have {shape}. Add a batch axis, and convert to RGB."
    )
    with error(message):
        frames_of(torch.zeros(shape))
