"""The tokenizer against its plain reference with dense masks: values and gradients.

The reference computes every token of every patch at once and masks what is dropped, so this is
also where removed tokens are held against masked ones.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common import Latents, sample_level_map
from dcs_tok import DCSTok, dcs_tok_nano, reference

from .grids import as_clip, grid_of
from .tiny_models import CONFIGS, LEVELS, NAMES, model, perturbed, random_levels, random_pixels

MAPS = ["uniform", "stratified", "independent", "per sample"]


def _level_map(kind: str, shape: tuple[int, int, int, int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if kind == "uniform":
        return sample_level_map(shape, LEVELS, uniform_share=1, generator=generator)
    if kind == "per sample":  # one count for all patches of a sample
        counts = torch.randint(1, LEVELS + 1, (shape[0], 1, 1, 1), generator=generator)
        return counts.expand(shape)
    return sample_level_map(shape, LEVELS, draw=kind, generator=generator)


def _fast(
    tok: DCSTok, pixels: Tensor, fps: object, levels: Tensor, target: dict[str, object]
) -> tuple[Tensor, Tensor, Latents]:
    reconstruction, latents = tok(
        pixels, fps, levels, size=target.get("size"), target_fps=target.get("fps")
    )
    return as_clip(reconstruction), latents.tokens, latents


def _masked(
    tok: DCSTok, pixels: Tensor, latents: Latents, levels: Tensor, target: dict[str, object]
) -> tuple[Tensor, Tensor]:
    tokens = reference.encode(tok, as_clip(pixels), grid_of(tok, latents), levels)
    grid, source = grid_of(tok, latents, **target), grid_of(tok, latents)
    return reference.decode(tok, tokens, grid, levels, source), tokens


def _gradients(tok: DCSTok, pixels: Tensor, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    loss = sum(
        (out * random_pixels(*out.shape, dtype=out.dtype, seed=3)).sum() + out.square().mean()
        for out in outputs
    )
    inputs = [pixels, *tok.parameters()]
    # A level that no patch keeps has no part in the loss.
    return torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)


def _assert_agree(
    tok: DCSTok,
    pixels: Tensor,
    fps: object,
    levels: Tensor,
    tolerance: float,
    target: dict[str, object] | None = None,
) -> None:
    pixels, target = pixels.requires_grad_(), target or {}
    fast_pixels, fast_tokens, latents = _fast(tok, pixels, fps, levels, target)
    pixels_out, tokens = _masked(tok, pixels, latents, levels, target)
    count = latents.num_levels
    assert count == int(levels.max())
    assert not tokens[..., count:, :].any()
    fast = (fast_pixels, fast_tokens)
    plain = (pixels_out, tokens[..., :count, :])
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    names = ["pixels", *(name for name, _ in tok.named_parameters())]
    for name, ours, theirs in zip(
        names, _gradients(tok, pixels, fast), _gradients(tok, pixels, plain), strict=True
    ):
        scale = max(1.0, theirs.abs().max().item())
        assert (ours - theirs).abs().max() <= tolerance * scale, name


@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(MAPS),
    height=st.integers(3, 17),
    width=st.integers(3, 17),
    frames=st.integers(1, 4),
    fps=st.sampled_from([None, 2, 5, 25, "30000/1001"]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_in_float64_for_any_size_rate_and_map(
    name: str, kind: str, height: int, width: int, frames: int, fps: object, seed: int
) -> None:
    tok = model(name)
    time = () if fps is None else (frames,)
    pixels = random_pixels(2, 3, *time, height, width, seed=seed)
    shape = tuple(tok.encode(pixels, fps=fps, levels=1).levels.shape)
    _assert_agree(tok, pixels, fps, _level_map(kind, shape, seed), 1e-9)


@given(
    name=st.sampled_from(NAMES),
    height=st.integers(4, 17),
    width=st.integers(4, 17),
    target_fps=st.sampled_from([None, 3, "12.5", 11.97]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_towards_another_size_and_rate(
    name: str, height: int, width: int, target_fps: object, seed: int
) -> None:
    tok = model(name)
    fps = None if target_fps is None else 5
    pixels = random_pixels(2, 3, *(() if fps is None else (4,)), 7, 9, seed=seed)
    shape = tuple(tok.encode(pixels, fps=fps, levels=1).levels.shape)
    levels = random_levels(*shape, seed=seed)
    target = {"size": (height, width), "fps": target_fps}
    _assert_agree(tok, pixels, fps, levels, 1e-9, target)


@pytest.mark.parametrize("kind", ["independent", "per sample"])
@pytest.mark.parametrize(("fps", "time"), [(None, ()), (5, (4,))], ids=["image", "clip"])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_in_float32(
    name: str, fps: int | None, time: tuple[int, ...], kind: str
) -> None:
    tok = model(name, torch.float32)
    pixels = random_pixels(2, 3, *time, 11, 13, dtype=torch.float32)
    shape = tuple(tok.encode(pixels, fps=fps, levels=1).levels.shape)
    _assert_agree(tok, pixels, fps, _level_map(kind, shape), 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_of_one_piece_per_patch(name: str) -> None:
    tok = perturbed(CONFIGS[name]())
    tok.max_memory = 1
    pixels = random_pixels(2, 3, 3, 4, 5)
    shape = tuple(tok.encode(pixels, fps=5, levels=1).levels.shape)
    _assert_agree(tok, pixels, 5, _level_map("independent", shape), 1e-9)


def test_the_nano_preset() -> None:
    tok = perturbed(replace(dcs_tok_nano(), patches_short_side=3))
    pixels = random_pixels(1, 3, 2, 13, 17)
    levels = sample_level_map((1, 1, 3, 4), 8, generator=torch.Generator().manual_seed(1))
    _assert_agree(tok, pixels, 25, levels, 1e-9)
