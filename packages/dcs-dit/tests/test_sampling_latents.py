"""What comes out: latents in the tokenizer's units, of the size and rate that training had."""

from fractions import Fraction

import pytest
import torch

from dcs_dit import DCSDiT, Latents, sample, sample_progressive

from .labelled_files import error
from .sampling_models import model, perturbed, progressive, small_config, tokens_of, watching
from .small_dit import CHANNELS, CLIP, LEVELS, PICTURE, fresh


def both(dit: DCSDiT, levels: int = LEVELS, **request: object) -> list[Latents]:
    """Sample all at once and coarse to fine."""
    request = {"seeds": [1, 2], "steps": 2, **request}
    with watching():
        joint_ = sample(dit, levels=levels, **request)  # type: ignore[arg-type]
    return [joint_, progressive(dit, levels=levels, **request)[-1].latents]


@pytest.mark.parametrize("levels", [1, 3, LEVELS])
def test_channels_are_scaled_as_the_tokenizer_s_were(levels: int) -> None:
    dit = model()
    normalised = tokens_of(progressive(dit, seeds=[1, 2], steps=2, levels=levels)[-1])
    expected = normalised * dit.latent_std[:levels] + dit.latent_mean[:levels]
    for latents in both(dit, levels):
        torch.testing.assert_close(latents.tokens, expected.float())
        found = dit.normalise(latents.tokens.double())
        torch.testing.assert_close(found, normalised, rtol=0, atol=1e-5)


def test_a_model_of_data_without_spread_returns_the_mean() -> None:
    dit = fresh(small_config())
    dit.latent_std.zero_()
    dit.latent_mean.copy_(torch.arange(float(LEVELS * CHANNELS)).view(LEVELS, CHANNELS))
    for latents in both(dit):
        assert torch.equal(latents.tokens, dit.latent_mean.expand(2, *PICTURE, -1, -1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_latents_are_in_single_precision(dtype: torch.dtype) -> None:
    for latents in both(perturbed(dtype)):
        assert latents.tokens.dtype == torch.float32
        assert latents.tokens.isfinite().all()


@pytest.mark.parametrize("levels", [2, LEVELS])
@pytest.mark.parametrize("grid", [None, (2, 3), (1, 4, 1)])
def test_pictures(grid: tuple[int, ...] | None, levels: int) -> None:
    dit = perturbed(torch.float32, patch_pixels=7, tokenizer="0123456789abcdef")
    for latents in both(dit, levels, grid=grid):
        expected = PICTURE if grid is None else (1, *grid)[-3:]
        assert latents.grid == expected
        assert latents.tokens.shape == (2, *expected, levels, CHANNELS)
        assert (latents.levels == levels).all()
        assert latents.size == (7 * expected[1], 7 * expected[2])
        assert (latents.fps, latents.frames, latents.phase) == (None, 1, 0)
        assert latents.tokenizer == "0123456789abcdef"


@pytest.mark.parametrize(
    ("fps", "segments", "frames"),
    [(12, None, 12), (12, 1, 4), (12, 2, 8), (7, 1, 2), (7, 2, 4), (7, 3, 7), (3, 3, 3)],
)
def test_clips(fps: int, segments: int | None, frames: int) -> None:
    """Three segments a second; frames are those that end within the segments."""
    dit = perturbed(torch.float32, grid=CLIP, fps=fps, segments_per_second=3, patch_pixels=4)
    grid = None if segments is None else (segments, *CLIP[1:])
    for latents in both(dit, grid=grid):
        assert latents.grid == (segments or CLIP[0], *CLIP[1:])
        assert (latents.fps, latents.frames) == (Fraction(fps), frames)
        assert latents.size == (4 * CLIP[1], 4 * CLIP[2])
        assert latents.tokenizer is None


def test_two_extents_are_rows_and_columns_of_one_segment() -> None:
    for latents in both(model("clip", torch.float32), grid=CLIP[1:]):
        assert (latents.grid, latents.frames) == ((1, *CLIP[1:]), 4)


def test_previews_have_the_levels_that_are_there() -> None:
    for step in sample_progressive(model(), seeds=[1], steps=1):
        assert step.latents.tokens.shape == (1, *PICTURE, step.level, CHANNELS)
        assert (step.latents.levels == step.level).all()


def test_trained_levels_are_the_default() -> None:
    dit = perturbed(torch.float32, trained_levels=2)
    assert sample(dit, steps=1).num_levels == 2
    assert [step.level for step in sample_progressive(dit, steps=1)] == [1, 2]
    with error("`levels` must be between 1 and 4, but is 5. This model has 4 levels."):
        sample(dit, steps=1, levels=5)


@pytest.mark.parametrize("mode", [True, False])
def test_a_model_in_training_is_sampled_as_it_is(mode: bool) -> None:
    dit = perturbed(torch.float32).train(mode)
    dit.checkpoint_activations = mode
    expected = sample(model("plain", torch.float32), seeds=[1], steps=2)
    assert torch.equal(sample(dit, seeds=[1], steps=2).tokens, expected.tokens)
    assert dit.training == mode
