"""A code may have any unit: what it decodes to stays, and noise hurts the least where it should."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_tok.training.rescale_latents import denoising_scales, rescale_latents

from .errors import error
from .tiny_models import CONFIGS, perturbed, random_pixels


@given(seed=st.integers(0, 2**31), moving=st.booleans(), levels=st.integers(1, 4))
def test_latents_scale_and_reconstructions_stay(seed: int, moving: bool, levels: int) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float64)
    pixels = random_pixels(1, 3, *((4,) if moving else ()), 13, 17).double()
    fps = 24 if moving else None
    levels = min(levels, tok.config.num_levels)
    before = tok.encode(pixels, fps, levels=levels)
    decoded = tok.decode(before)
    shape = (tok.config.num_levels, tok.config.latent_channels)
    generator = torch.Generator().manual_seed(seed)
    scales = torch.rand(shape, generator=generator, dtype=torch.float64) * 8 + 0.1
    rescale_latents(tok, scales)
    after = tok.encode(pixels, fps, levels=levels)
    expected = before.tokens * scales[: before.tokens.shape[4]]
    torch.testing.assert_close(after.tokens, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(tok.decode(after), decoded, rtol=0, atol=1e-9)


def test_the_last_level_has_the_deviation_that_was_asked_for() -> None:
    std = torch.tensor([[4.0, 1.0], [0.25, 0.25]], dtype=torch.float64)
    scaled = std * denoising_scales(std, 2.0)
    assert scaled.tolist() == [[8.0, 4.0], [2.0, 2.0]]


@given(seed=st.integers(0, 2**31))
def test_no_other_proportions_lose_less_to_small_noise(seed: int) -> None:
    """A value of deviation s, sent with t, errs by s^2 / (1 + (t / noise)^2) when read back."""
    generator = torch.Generator().manual_seed(seed)
    std = torch.rand(3, 4, generator=generator, dtype=torch.float64) + 0.05
    sent = std * denoising_scales(std, 1.0)

    def loss(sent: torch.Tensor) -> float:
        return (std.square() / (1 + (sent / 1e-3).square())).sum().item()

    other = sent * torch.exp(torch.randn(sent.shape, generator=generator, dtype=torch.float64) / 5)
    other = other * (sent.square().sum() / other.square().sum()).sqrt()
    assert loss(sent) <= loss(other)


@pytest.mark.parametrize("name", ["paper"])
def test_a_model_with_transformers_is_refused(name: str) -> None:
    tok = perturbed(CONFIGS[name](), torch.float32)
    with error(
        "Latents can be rescaled in a model that writes and reads them linearly, but this one has "
        "transformers, or no linear path. Leave `initial_latent_std` out of the recipe."
    ):
        rescale_latents(tok, torch.ones(tok.config.num_levels, tok.config.latent_channels))
