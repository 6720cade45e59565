"""``compress`` and ``decompress``: what goes in, and what comes out at any size, rate and level."""

import gc
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from dcs_tok import DCSTok, allocate_levels
from dcs_tok.compression.codec import codec_of, decompress
from dcs_tok.compression.compress import compress
from dcs_tok.compression.container import read_file

from .errors import error
from .small_codec import LEVELS, save_small_model, small_codec, small_tok, tok_with_networks, waves

PICTURE = waves(24, 29)


def clip(frames: int = 9) -> torch.Tensor:
    return torch.stack([waves(14, 17, seed=i // 3) for i in range(frames)], dim=2)


def test_equal_pixels_give_equal_bytes() -> None:
    first = compress(PICTURE, small_tok(), quality=40)
    assert compress(PICTURE.clone(), small_tok(), quality=40) == first
    assert compress(PICTURE.double(), small_tok(), quality=40) == first
    assert compress(PICTURE.flip(-1), small_tok(), quality=40) != first


def test_a_folder_s_name_is_a_model(tmp_path: Path) -> None:
    folder = save_small_model(tmp_path / "model")
    data = compress(PICTURE, folder, quality=40)
    assert data == compress(PICTURE, str(folder), quality=40)
    assert data == compress(PICTURE, small_tok(), quality=40)
    assert torch.equal(decompress(data, model=folder), decompress(data, model=small_tok()))


def test_an_entropy_model_is_read_once_and_goes_with_its_tokenizer(tmp_path: Path) -> None:
    tok = DCSTok.from_pretrained(save_small_model(tmp_path / "model"))
    assert codec_of(tok).model is codec_of(tok).model
    gone = weakref.ref(tok)
    del tok
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("patches", [1, 3, 7])
def test_patches_are_those_asked_for(patches: int) -> None:
    for target in ({"quality": 40}, {"max_bytes": 900}, {"psnr": 20}):
        data = compress(PICTURE, small_tok(), patches=patches, **target)
        assert min(read_file(data).header.levels.shape[1:]) == patches


def test_a_picture_decodes_at_any_size() -> None:
    data = compress(PICTURE, small_tok(), quality=60)
    latents = small_codec().read(data)[0]
    assert decompress(data, model=small_tok()).shape == PICTURE.shape
    for size in ((24, 29), (48, 58), (17, 31)):
        found = decompress(data, size, model=small_tok())
        assert torch.equal(found, small_tok().decode(latents, size))
        assert found.shape == (1, 3, *size)


def test_a_clip_decodes_at_any_rate() -> None:
    data = compress(clip(), small_tok(), quality=60, fps=4)
    header = read_file(data).header
    assert (header.fps, header.frames, header.phase) == (4, 9, 0)
    assert decompress(data, model=small_tok()).shape == (1, 3, 9, 14, 17)
    faster = decompress(data, (7, 8), Fraction(6), model=small_tok())
    assert torch.equal(faster, small_tok().decode(small_codec().read(data)[0], (7, 8), 6))
    assert faster.shape == (1, 3, 14, 7, 8)


@pytest.mark.parametrize("fps", ["30000/1001", 29.97, "29.97002997002997"])
def test_a_clip_of_any_rate_comes_back(fps: object) -> None:
    data = compress(clip(), small_tok(), quality=30, fps=fps)
    assert decompress(data, model=small_tok()).shape == (1, 3, 9, 14, 17)


@pytest.mark.parametrize("levels", range(1, LEVELS + 1))
def test_a_file_of_fewer_levels_decodes_like_the_first_ones_of_more(levels: int) -> None:
    for tok in (small_tok(), tok_with_networks()):
        few = compress(PICTURE, tok, levels, quality=60, patches=4)
        assert read_file(few).header.num_levels == levels
        codec = codec_of(tok)
        fewer, whole = codec.read(few)[0], codec.read(compress(PICTURE, tok, quality=60, patches=4))
        assert torch.equal(fewer.levels, whole[0].take_levels(levels).levels)
        torch.testing.assert_close(fewer.tokens, whole[0].take_levels(levels).tokens)


def test_at_most_so_many_levels_are_decoded() -> None:
    data = compress(PICTURE, small_tok(), quality=60, patches=4)
    whole = decompress(data, model=small_tok())
    assert torch.equal(decompress(data, levels=LEVELS, model=small_tok()), whole)
    error_of = [
        float((decompress(data, levels=m, model=small_tok()) - PICTURE).square().mean())
        for m in range(1, LEVELS + 1)
    ]
    assert error_of == sorted(error_of, reverse=True)
    few = compress(PICTURE, small_tok(), 1, quality=60)
    assert torch.equal(
        decompress(few, levels=3, model=small_tok()), decompress(few, model=small_tok())
    )


@pytest.mark.parametrize("levels", [0, LEVELS + 1, -1])
def test_levels_out_of_range(levels: int) -> None:
    data = compress(PICTURE, small_tok(), quality=60)
    with error(
        f"`levels` must be between 1 and {LEVELS}, but is {levels}. Leave it out for all there are."
    ):
        decompress(data, levels=levels, model=small_tok())


def test_a_level_map_is_kept() -> None:
    levels = torch.tensor([[[1, 3, 2], [2, 2, 1]]])
    data = compress(waves(16, 24), small_tok(), levels, quality=60, patches=2)
    assert np.array_equal(read_file(data).header.levels, levels.numpy())
    uniform = compress(waves(16, 24), small_tok(), quality=60, patches=2)
    assert not torch.equal(
        decompress(data, model=small_tok()), decompress(uniform, model=small_tok())
    )


@pytest.mark.parametrize("allocation", ["entropy", "greedy", "predicted"])
def test_levels_on_average_are_spent_where_they_are_allocated(allocation: str) -> None:
    data = compress(
        PICTURE, small_tok(), average_levels=1.5, allocation=allocation, quality=50, patches=4
    )
    expected = allocate_levels(PICTURE, 1.5, method=allocation, model=small_tok(), patches=4)
    found = read_file(data).header.levels
    assert np.array_equal(found, expected[0].numpy())
    assert found.mean() <= 1.5


@pytest.mark.parametrize("target", [{"quality": 50}, {"max_bytes": 300}, {"psnr": 20}, {}])
def test_an_average_of_levels_goes_with_any_target(target: dict[str, int]) -> None:
    data = compress(PICTURE, small_tok(), 2, average_levels=1.5, **target)
    levels = read_file(data).header.levels
    assert levels.mean() <= 1.5
    assert levels.max() <= 2


def test_an_average_beside_a_map() -> None:
    levels = torch.ones(1, 4, 5, dtype=torch.int64)
    with error("`levels` must be a count beside `average_levels`, but is a map. Give one of them."):
        compress(PICTURE, small_tok(), levels, average_levels=1.5, patches=4)


@pytest.mark.parametrize("batch", [2, 5])
def test_a_batch(batch: int) -> None:
    with error(
        f"A .dcs file holds one picture or clip, but `pixels` hold {batch}. Compress them one by "
        "one."
    ):
        compress(PICTURE.expand(batch, -1, -1, -1), small_tok())


@pytest.mark.parametrize("quality", [-1, 101, 40.5])
def test_a_quality_out_of_range(quality: object) -> None:
    with error(
        f"`quality` must be an integer from 0 to 100, but is {quality}. Higher is better and "
        "larger."
    ):
        compress(PICTURE, small_tok(), quality=quality)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2)])
@pytest.mark.parametrize("target", [{}, {"max_bytes": 200}, {"psnr": 10}])
def test_pictures_of_a_few_pixels(shape: tuple[int, int], target: dict[str, int]) -> None:
    pixels = waves(*shape)
    data = compress(pixels, small_tok(), **target)
    assert decompress(data, model=small_tok()).shape == pixels.shape


def test_pixels_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^`pixels` must be finite and in"):
        compress(PICTURE * 255, small_tok())
    with pytest.raises(ValueError, match=r"^A clip needs its frame rate"):
        compress(clip(), small_tok())
