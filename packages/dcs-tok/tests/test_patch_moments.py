"""Moments of the patches of pictures equal those that one sums up directly."""

from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_tok import patch_moments
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.patch_moments import (
    DETAIL_FLOOR,
    PatchMoments,
    detail,
    picture_moments,
    read_pictures,
    to_short_side,
)

from .errors import error
from .picture_files import as_pixels, noise, saved, small_photo

GRID = 3


def weighted_moments(patches: list[Tensor], weights: list[float]) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of flat patches, each part with its weight, by definition."""
    flat = torch.cat(patches).double()
    weight = torch.cat(
        [
            torch.full((len(part),), w, dtype=torch.float64)
            for part, w in zip(patches, weights, strict=True)
        ]
    )
    weight /= weight.sum()
    mean = weight @ flat
    return mean, (flat - mean).T @ ((flat - mean) * weight[:, None])


def cut(pixels: Tensor, side: int) -> Tensor:
    """Cut (1, 3, H, W) into flat patches of side x side: (patches, side * side * 3)."""
    blocks = pixels[0].unfold(1, side, side).unfold(2, side, side)
    return blocks.permute(1, 2, 3, 4, 0).reshape(-1, side * side * 3)


def test_pictures_count_by_one_over_their_detail(tmp_path: Path) -> None:
    busy = noise(12, 15)
    calm = (0.1 * noise(12, 18, seed=1) + 120).astype(np.uint8)
    for name, picture in (("a.png", busy), ("b.png", calm)):
        saved(tmp_path / name, Image.fromarray(picture))
    moments = picture_moments([tmp_path], patches=4, grid=GRID)
    pixels = [as_pixels(busy), as_pixels(calm)]
    weights = [1 / (detail(one) + DETAIL_FLOOR) for one in pixels]
    assert weights[1] > 20 * weights[0]
    mean, covariance = weighted_moments([cut(one, GRID) for one in pixels], weights)
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(moments.about(moments.mean), covariance, rtol=0, atol=1e-6)
    assert moments.weight == pytest.approx(weights[0] * 20 + weights[1] * 24)
    assert moments.frames == 1


def test_the_second_moment_may_be_taken_about_any_point(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(noise(12, 12)))
    moments = picture_moments([path], patches=4, grid=GRID)
    center = torch.linspace(0, 1, GRID * GRID * 3, dtype=torch.float64)
    centered = cut(as_pixels(noise(12, 12)), GRID).double() - center
    expected = centered.T @ centered / len(centered)
    torch.testing.assert_close(moments.about(center), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [2, 4, 5])
def test_patches_of_other_sizes_are_brought_to_the_canonical_grid(
    side: int, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(noise(4 * side, 4 * side)))
    moments = picture_moments([path], patches=4, grid=GRID)
    patches = cut(as_pixels(noise(4 * side, 4 * side)), side).view(-1, 1, side, side, 3)
    canonical = to_canonical(patches, (Fraction(1),), 1, GRID).flatten(1)
    mean, covariance = weighted_moments([canonical], [1.0])
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(moments.about(moments.mean), covariance, rtol=0, atol=1e-5)


def test_patches_of_uneven_sizes_all_count(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(noise(13, 17)))
    moments = picture_moments([path], patches=4, grid=GRID)
    weight = 1 / (detail(as_pixels(noise(13, 17))) + DETAIL_FLOOR)
    assert moments.weight == pytest.approx(weight * 4 * 5)


@pytest.mark.parametrize("ceiling", [1, 7, 10**9])
def test_waiting_patches_are_bounded_and_none_is_lost(
    ceiling: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        saved(tmp_path / f"{i}.png", Image.fromarray(noise(13, 17, seed=i)))
    expected = picture_moments([tmp_path], patches=4, grid=GRID)
    monkeypatch.setattr(patch_moments, "MAX_WAITING", ceiling)
    waiting = []
    add = PatchMoments.add

    def watched(self: PatchMoments, *arguments: object) -> None:
        add(self, *arguments)
        waiting.append(sum(len(part) for part in self._waiting))

    monkeypatch.setattr(PatchMoments, "add", watched)
    moments = picture_moments([tmp_path], patches=4, grid=GRID)
    assert max(waiting) == 60 if ceiling > 60 else max(waiting) < ceiling
    torch.testing.assert_close(
        moments.about(moments.mean), expected.about(expected.mean), rtol=0, atol=1e-6
    )
    assert moments.weight == expected.weight


def test_asking_twice_changes_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(noise(12, 12)))
    moments = picture_moments([path], patches=4, grid=GRID)
    first = moments.about(moments.mean)
    assert torch.equal(moments.about(moments.mean), first)


def test_large_grids_are_sampled_evenly_and_alike_every_time(tmp_path: Path) -> None:
    photo = small_photo(tmp_path / "a.png", 96, 96)
    whole = picture_moments([photo], patches=32, grid=GRID, max_patches=1024)
    sample, again = (
        picture_moments([photo], patches=32, grid=GRID, max_patches=300) for _ in range(2)
    )
    assert sample.weight / whole.weight == pytest.approx(300 / 1024)
    assert torch.equal(sample.about(sample.mean), again.about(again.mean))
    assert not torch.equal(sample.mean, whole.mean)
    torch.testing.assert_close(sample.mean, whole.mean, rtol=0, atol=0.08)


def test_detail_is_the_mean_squared_step_down_plus_that_across() -> None:
    pixels = torch.tensor([[[0.0, 0.5], [1.0, 0.75]]]).expand(3, 2, 2)
    down = (1.0**2 + 0.25**2) / 2
    across = (0.5**2 + 0.25**2) / 2
    assert detail(pixels) == pytest.approx(down + across)
    assert detail(pixels[..., :1]) == pytest.approx(1.0)
    assert detail(torch.full((3, 7, 5), 0.3)) == 0
    assert detail(torch.rand(3, 1, 1)) == 0


def test_pictures_are_reduced_to_a_short_side_and_never_enlarged() -> None:
    pixels = torch.from_numpy(noise(20, 30)).permute(2, 0, 1)
    assert torch.equal(to_short_side(pixels, None), pixels.float() / 255)
    assert torch.equal(to_short_side(pixels, 20), pixels.float() / 255)
    assert torch.equal(to_short_side(pixels, 99), pixels.float() / 255)
    assert to_short_side(pixels, 10).shape == (3, 10, 15)
    assert to_short_side(pixels.transpose(1, 2), 10).shape == (3, 15, 10)
    flat = torch.full((3, 20, 30), 51, dtype=torch.uint8)
    torch.testing.assert_close(to_short_side(flat, 7), torch.full((3, 7, 10), 0.2))


def test_pictures_come_from_folders_zips_and_files_by_name(tmp_path: Path) -> None:
    pictures = {name: noise(3, 5, seed=i) for i, name in enumerate("abcd")}
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    saved(folder / "b.png", Image.fromarray(pictures["b"]))
    saved(folder / "deep" / "c.PNG", Image.fromarray(pictures["c"]))
    (folder / "a text.txt").write_text("no picture")
    single = saved(tmp_path / "d.bmp", Image.fromarray(pictures["d"]))
    inner = saved(tmp_path / "a.webp", Image.fromarray(pictures["a"]), lossless=True)
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(inner, "x/a.webp")
        archive.writestr("x/notes.md", "no picture")
    found = list(read_pictures([tmp_path / "photos.zip", folder, single]))
    assert len(found) == 4
    for pixels, name in zip(found, "abcd", strict=True):
        assert pixels.dtype == torch.uint8
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), pictures[name])


def test_sources_without_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no picture")
    message = (
        f"The sources must hold a picture, but {[str(tmp_path)]} hold none of .bmp, .jpeg, .jpg, "
        ".png, .ppm, .webp. Name others."
    )
    with error(message):
        picture_moments([tmp_path], patches=4, grid=GRID)
