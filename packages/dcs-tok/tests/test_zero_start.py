"""Beside a linear path, transformers and networks start as an exact zero that can learn."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dcs_tok import DCSTok, DCSTokConfig, dcs_tok_nano
from dcs_tok.canonical_patch import from_canonical, to_canonical

from .grids import as_clip, grid_of
from .tiny_models import CONFIGS, fresh, random_levels, random_pixels

# Pictures, and clips whose first segment holds one frame and whose others hold several.
SCALES = [(None, (2, 3, 13, 17)), (5, (2, 3, 6, 13, 17))]
STARTS: dict[str, DCSTokConfig] = {
    "nano": CONFIGS["nano"](),
    "nano_transformer": CONFIGS["nano_transformer"](),
    "beside_linear": CONFIGS["beside_linear"](),
    "dcs-tok-nano": replace(dcs_tok_nano(), patches_short_side=3, segments_per_second=2),
}


def _start(name: str) -> DCSTok:
    return fresh(STARTS[name]).double().eval()


def _heads(tok: DCSTok) -> list[nn.Module]:
    """The last layers of all that stands beside the linear path."""
    if tok.encoder is not None:
        return [tok.encoder.tokens_out, tok.depatchifier.pixels_out]
    encoders, decoders = tok.encoder_networks.values(), tok.decoder_networks.values()
    return [*(one.tokens_out for one in encoders), *(one.cells_out for one in decoders)]


def _linear_path_alone(tok: DCSTok, pixels: Tensor, fps: int | None) -> tuple[Tensor, Tensor]:
    """Encode and decode patch by patch with the linear path and nothing else."""
    path, canonical = tok.linear_path, tok.config.canonical
    assert path is not None
    assert canonical is not None
    grid = grid_of(tok, tok.encode(pixels, fps=fps))
    clip = as_clip(pixels)
    n, d = tok.config.num_levels, tok.config.latent_channels
    tokens = clip.new_zeros(len(clip), *grid.shape, n, d)
    decoded = torch.zeros_like(clip)
    for s, span in enumerate(grid.spans):
        for y in range(grid.rows):
            for x in range(grid.columns):
                top, bottom = grid.row_edges[y : y + 2]
                left, right = grid.column_edges[x : x + 2]
                place = (..., slice(span.start, span.stop), slice(top, bottom), slice(left, right))
                patch = clip[place].permute(0, 2, 3, 4, 1)
                shrunk = to_canonical(patch, span.times, canonical.frames, canonical.grid)
                tokens[:, s, y, x] = path.encode(shrunk, n)
                frames = path.decode(tokens[:, s, y, x], span.times, len(span.times) == 1)
                patch = from_canonical(frames, bottom - top, right - left)
                decoded[place] = patch.permute(0, 4, 1, 2, 3)
    return tokens, decoded


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=["image", "clip"])
@pytest.mark.parametrize("name", STARTS)
def test_what_stands_beside_it_contributes_exactly_zero(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = _start(name), random_pixels(*shape)
    outputs: list[Tensor] = []
    for head in _heads(tok):
        head.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    reconstruction, _ = tok(pixels, fps=fps, levels=3)
    assert reconstruction.std() > 1e-3
    assert len(outputs) >= 2
    assert not any(out.any() for out in outputs)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=["image", "clip"])
@pytest.mark.parametrize("name", STARTS)
def test_the_start_is_the_linear_path_alone(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = _start(name), random_pixels(*shape)
    with torch.no_grad():
        tokens, decoded = _linear_path_alone(tok, pixels, fps)
        reconstruction, latents = tok(pixels, fps=fps)
    torch.testing.assert_close(latents.tokens, tokens, rtol=0, atol=1e-12)
    torch.testing.assert_close(as_clip(reconstruction), decoded, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", STARTS)
def test_segments_that_were_still_stay_still_and_moving_ones_move_at_every_rate(name: str) -> None:
    """Which of the two linear codes is read follows from the source, not from what is asked."""
    tok = _start(name)
    still = tok.encode(random_pixels(1, 3, 3, 7, 11), fps=2)  # a frame to each segment
    frames = tok.reconstruct(still, fps=6).unflatten(2, (3, 3))
    torch.testing.assert_close(frames, frames[:, :, :, :1].expand_as(frames))
    assert (frames[:, :, 0] != frames[:, :, 1]).any()
    moving = tok.encode(random_pixels(1, 3, 6, 7, 11), fps=6)
    last = tok.reconstruct(moving, fps=6)[:, :, 2::3]
    torch.testing.assert_close(tok.reconstruct(moving, fps=2), last)


@pytest.mark.parametrize("name", STARTS)
def test_the_zero_start_can_learn(name: str) -> None:
    """The heads get gradients at once, and after one step of theirs every weight does."""
    tok, clip = _start(name), random_pixels(2, 3, 6, 7, 9)
    grid = tok.encode(clip, fps=5, levels=1).grid
    levels = random_levels(2, *grid, high=tok.config.num_levels)
    levels[0, 0, 0, 0] = tok.config.num_levels
    heads = _heads(tok)

    def backward() -> None:
        tok.zero_grad()
        reconstruction, _ = tok(clip, fps=5, levels=levels)
        (reconstruction - clip).square().mean().backward()

    backward()
    for head in heads:
        assert (head.weight.grad != 0).any(dim=1).all()
        assert (head.bias.grad != 0).all()
    with torch.no_grad():
        for head in heads:
            for parameter in head.parameters():
                parameter -= parameter.grad
    backward()
    for parameter_name, parameter in tok.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", ["paper", "own_pixels", "cells_alone"])
def test_without_a_linear_path_nothing_starts_at_zero(name: str) -> None:
    tok = fresh(CONFIGS[name]())
    assert tok.linear_path is None
    reconstruction, latents = tok(random_pixels(1, 3, 7, 11, dtype=torch.float32))
    assert (latents.tokens != 0).all()
    assert (reconstruction != 0.5).all()
