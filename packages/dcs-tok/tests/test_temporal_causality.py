"""Earlier segments never depend on later ones: exact at unchanged shapes, and in gradients."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from .grids import changed, grid_of, over_pixels
from .tiny_models import LEVELS, NAMES, TRANSFORMERS, model, random_levels, random_pixels

FRAMES, FPS, SEGMENTS = 7, 5, 3
SIZE = (7, 9)


def _clip(seed: int = 0) -> Tensor:
    return random_pixels(2, 3, FRAMES, *SIZE, seed=seed)


@pytest.mark.parametrize("anchor", ["end", "start"])
@pytest.mark.parametrize("segment", range(1, SEGMENTS))
@pytest.mark.parametrize("name", NAMES)
def test_latents_ignore_the_pixels_of_later_segments(name: str, segment: int, anchor: str) -> None:
    tok, clip = model(name), _clip()
    levels = random_levels(2, SEGMENTS, 3, 4)
    before = tok.encode(clip, fps=FPS, levels=levels, anchor=anchor)
    assert before.grid == (SEGMENTS, 3, 4)
    first_frame = grid_of(tok, before).spans[segment].start
    assert 0 < first_frame < FRAMES
    other = clip.clone()
    other[:, :, first_frame:] = _clip(seed=1)[:, :, first_frame:]
    after = tok.encode(other, fps=FPS, levels=levels, anchor=anchor)
    assert torch.equal(after.tokens[:, :segment], before.tokens[:, :segment])
    is_changed = (after.tokens != before.tokens).any(dim=-1)[:, segment:]
    assert torch.equal(is_changed, torch.arange(LEVELS) < levels[:, segment:].unsqueeze(-1))


@pytest.mark.parametrize("fps", [4, Fraction(12000, 1001)])
@pytest.mark.parametrize("segment", range(1, SEGMENTS))
@pytest.mark.parametrize("name", NAMES)
def test_decoded_frames_ignore_the_tokens_of_later_segments(
    name: str, segment: int, fps: int | Fraction
) -> None:
    tok = model(name)
    latents = tok.encode(_clip(), fps=FPS, levels=random_levels(2, SEGMENTS, 3, 4))
    tokens = latents.tokens.clone()
    tokens[:, segment:] += 0.3 * (tokens[:, segment:] != 0)
    other = replace(latents, tokens=tokens)
    grid = grid_of(tok, latents, fps=fps)
    is_later = over_pixels(torch.arange(SEGMENTS).expand(2, 3, 4, -1).permute(0, 3, 1, 2), grid)
    with torch.no_grad():
        is_changed = changed(tok.reconstruct(latents, fps=fps), tok.reconstruct(other, fps=fps))
    assert torch.equal(is_changed, is_later >= segment)
    is_changed = changed(tok.decode(latents, fps=fps), tok.decode(other, fps=fps))
    assert not is_changed[is_later < segment].any()
    assert is_changed[is_later >= segment].any()


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_gradients_flow_from_each_segment_to_all_frames_up_to_it(name: str) -> None:
    tok = model(name)
    clip = _clip().requires_grad_()
    reconstruction, latents = tok(clip, fps=FPS)
    for segment, span in enumerate(grid_of(tok, latents).spans):
        may_see = torch.arange(FRAMES) < span.stop
        losses = (latents.tokens[:, segment], reconstruction[:, :, span.start : span.stop])
        for loss in losses:
            (gradient,) = torch.autograd.grad(loss.square().sum(), clip, retain_graph=True)
            reached = (gradient != 0).any(dim=1).flatten(2)
            assert torch.equal(reached.all(dim=-1), may_see.expand(2, -1))
            assert torch.equal(reached.any(dim=-1), may_see.expand(2, -1))


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_encoded_as_its_full_segments_arrive(name: str) -> None:
    tok = model(name)
    stream = random_pixels(1, 3, 14, *SIZE)
    whole = tok.encode(stream, fps=6, anchor="start")
    assert whole.grid[0] == 5
    decoded = tok.decode(whole)
    for segments in range(1, 5):
        part = tok.encode(stream[:, :, : 3 * segments], fps=6, anchor="start")
        assert part.phase == 0
        expected = whole.tokens[:, :segments]
        torch.testing.assert_close(part.tokens, expected, rtol=0, atol=1e-9)
        frames = decoded[:, :, : 3 * segments]
        torch.testing.assert_close(tok.decode(part), frames, rtol=0, atol=1e-9)
