"""The value that the packages share: what it holds, and what it refuses."""

import re
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction as F

import pytest
import torch
from torch import Tensor

from dcs_common.latents import Latents


def tokens(*shape: int) -> Tensor:
    shape = shape or (2, 3, 5, 7, 4, 11)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def clip(**change: object) -> Latents:
    return Latents(**{"tokens": tokens(), "size": (50, 70), "fps": 24, "frames": 11, **change})


def ragged() -> Tensor:
    return torch.randint(1, 5, (2, 3, 5, 7), generator=torch.Generator().manual_seed(1))


def test_shapes_are_named() -> None:
    latents = clip()
    assert latents.grid == (3, 5, 7)
    assert latents.patches == 5
    assert latents.num_levels == 4
    assert clip(tokens=tokens(1, 3, 7, 5, 4, 2)).patches == 5


def test_without_a_map_every_patch_has_all_levels() -> None:
    levels = clip().levels
    assert (levels.dtype, tuple(levels.shape)) == (torch.int64, (2, 3, 5, 7))
    assert (levels == 4).all()


@pytest.mark.parametrize(
    ("fps", "exact"), [(24, F(24)), (29.97, F(2997, 100)), ("30000/1001", F(30000, 1001))]
)
def test_rates_become_exact(fps: float | str, exact: F) -> None:
    latents = clip(fps=fps)
    assert (latents.fps, type(latents.fps)) == (exact, F)


def test_taking_levels_gives_the_prefix_of_every_patch() -> None:
    latents = clip(levels=ragged(), phase=F(1, 3), tokenizer="0123456789abcdef")
    for m in (1, 2, 3, 4):
        some = latents.take_levels(m)
        assert torch.equal(some.tokens, latents.tokens[..., :m, :])
        assert torch.equal(some.levels, latents.levels.clamp(max=m))
        assert some.num_levels == m
        for name in ("size", "fps", "frames", "phase", "tokenizer"):
            assert getattr(some, name) == getattr(latents, name)
    assert torch.equal(latents.take_levels(3).take_levels(2).tokens, latents.take_levels(2).tokens)


def test_latents_are_frozen_and_can_be_replaced() -> None:
    latents = clip()
    with pytest.raises(FrozenInstanceError):
        latents.frames = 5  # type: ignore[misc]
    wider = replace(latents, size=(90, 80))
    assert (wider.size, latents.size) == ((90, 80), (50, 70))
    assert wider.tokens is latents.tokens
    with pytest.raises(ValueError, match=r"^`levels` must be between 1 and 3, but range from 4"):
        replace(latents, tokens=latents.tokens[..., :3, :])


def test_casting_moves_tokens_and_keeps_the_map() -> None:
    latents = clip(levels=ragged())
    half = latents.to(torch.float16)
    assert torch.equal(half.tokens, latents.tokens.half())
    assert torch.equal(half.levels, latents.levels)
    assert half.levels.dtype == torch.int64
    double = latents.to("cpu", dtype=torch.float64)
    assert torch.equal(double.tokens, latents.tokens.double())
    assert double.fps == latents.fps


TOKENS = "`tokens` must be floats of shape (b, t, h, w, n, c), but are {} of shape {}."
LEVELS = "`levels` must be integers of shape (2, 3, 5, 7), but are {} of shape {}."
RANGE = "`levels` must be between 1 and 4, but range from {} to {}."
SIZE = (
    "`size` must be (height, width) with at least one pixel per patch of the 5 x 7 grid, but is {}."
)
RATE = (
    "An image has one frame in one segment and a clip needs `fps`, but `fps` is {} for {} frames "
    "in {} segments."
)
PHASE = (
    "`phase` must be a part of a segment in [0, 1), but is {}. "
    "It is 0 unless the clip came as a stream."
)
MAP = (2, 3, 5, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": tokens(2, 5, 7, 4, 11)}, TOKENS.format("torch.float32", (2, 5, 7, 4, 11))),
        (
            {"tokens": tokens(2, 3, 5, 7, 0, 11)},
            TOKENS.format("torch.float32", (2, 3, 5, 7, 0, 11)),
        ),
        ({"tokens": tokens().long()}, TOKENS.format("torch.int64", (2, 3, 5, 7, 4, 11))),
        ({"levels": ragged()[0]}, LEVELS.format("torch.int64", (3, 5, 7))),
        ({"levels": ragged().float()}, LEVELS.format("torch.float32", MAP)),
        ({"levels": ragged() > 0}, LEVELS.format("torch.bool", MAP)),
        ({"levels": torch.full(MAP, 1j)}, LEVELS.format("torch.complex64", MAP)),
        ({"levels": ragged().clamp(2) - 2}, RANGE.format(0, 2)),
        ({"levels": ragged() + 1}, RANGE.format(2, 5)),
        ({"size": (4, 70)}, SIZE.format((4, 70))),
        ({"size": (50, 6)}, SIZE.format((50, 6))),
        ({"size": (3, 50, 70)}, SIZE.format((3, 50, 70))),
        ({"fps": None}, RATE.format(None, 11, 3)),
        ({"fps": None, "frames": 1}, RATE.format(None, 1, 3)),
        ({"frames": 0}, RATE.format(24, 0, 3)),
        ({"tokenizer": 3}, "`tokenizer` must be a fingerprint or None, but is 3."),
        ({"phase": F(1)}, PHASE.format(1)),
        ({"phase": F(-1, 4)}, PHASE.format("-1/4")),
        (
            {"fps": 0},
            "`fps` must be a positive frame rate, but is 0. "
            "Give frames per second as a number or a fraction such as '30000/1001'.",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clip(**change)


@pytest.mark.parametrize("levels", [0, 5, -1])
def test_only_levels_that_are_there_can_be_taken(levels: int) -> None:
    message = f"`levels` must be between 1 and 4, but is {levels}. These latents hold 4 levels."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clip().take_levels(levels)
