"""The training call: differentiable, unclamped, and the same numbers as encode and decode."""

import pytest
import torch
from torch import Tensor

from .tiny_models import CONFIGS, NAMES, fresh, model, random_levels, random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}
SCALES = [(None, (2, 3, 11, 13)), (5, (2, 3, 6, 7, 11))]
SCALE_IDS = ["image", "clip"]


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_training_call_is_encode_and_decode_before_clamping(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    levels = random_levels(2, *tok.encode(pixels, fps=fps, levels=1).grid)
    target = {"size": (17, 19), "fps": None if fps is None else 7}
    reconstruction, latents = tok(
        pixels, fps, levels, size=target["size"], target_fps=target["fps"]
    )
    encoded = tok.encode(pixels, fps, levels)
    torch.testing.assert_close(latents.tokens, encoded.tokens, **CLOSE)
    torch.testing.assert_close(reconstruction.clamp(0, 1), tok.decode(encoded, **target), **CLOSE)
    assert reconstruction.min() < 0 or reconstruction.max() > 1
    assert reconstruction.requires_grad
    assert not encoded.tokens.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_the_training_call_takes_its_own_patches(name: str) -> None:
    tok, pixels = model(name), random_pixels(1, 3, 11, 13)
    reconstruction, latents = tok(pixels, patches=2)
    assert latents.patches == 2
    torch.testing.assert_close(latents.tokens, tok.encode(pixels, patches=2).tokens, **CLOSE)
    torch.testing.assert_close(reconstruction, tok.reconstruct(latents), **CLOSE)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns_from_the_reconstruction(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    reconstruction, _ = tok(pixels, fps=fps)
    loss = (reconstruction - pixels).square().mean()
    named = dict(tok.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    for weight, gradient in zip(named, gradients, strict=True):
        if fps is None and ".moving." in weight:
            assert gradient is None, weight  # pictures do not move
        else:
            assert gradient is not None, weight
            assert gradient.any(), weight
            assert gradient.isfinite().all(), weight


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    tok, levels = model(name), random_levels(1, 2, 3, 4)
    pixels = (0.1 + 0.8 * random_pixels(1, 3, 3, 5, 7)).requires_grad_()
    direction = random_pixels(*pixels.shape, seed=4) - 0.5

    def loss(moved: Tensor) -> Tensor:
        reconstruction, latents = tok(moved, 3, levels, size=(4, 5), target_fps=5)
        outputs = (reconstruction, latents.tokens)
        return sum((out * random_pixels(*out.shape, seed=3)).sum() for out in outputs)

    (gradient,) = torch.autograd.grad(loss(pixels), pixels)
    step = 1e-4
    with torch.no_grad():
        there, back = (loss(pixels + sign * step * direction) for sign in (1, -1))
    expected = (there - back) / (2 * step)
    assert abs(expected) > 1e-2
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_on_flat_patches_bring_their_colours_through(name: str) -> None:
    """The error falls far below its start and what the best single colour would leave."""
    tok = fresh(CONFIGS[name](), seed=1).train()
    colours = random_pixels(1, 3, 3, 4, dtype=torch.float32)
    pixels = colours.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    optimiser = torch.optim.Adam(tok.parameters(), lr=2e-3)
    losses = []
    for _ in range(50):
        reconstruction, _ = tok(pixels)
        loss = (reconstruction - pixels).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    variance = (pixels - pixels.mean(dim=(2, 3), keepdim=True)).square().mean()
    assert losses[-1] < 0.3 * min(variance.item(), losses[0])
