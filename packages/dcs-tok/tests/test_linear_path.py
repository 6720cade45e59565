"""The linear path: orthonormal, level-causal codes of still and of moving canonical patches."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from dcs_tok.linear_path import LinearCode, LinearPath

from .tiny_models import random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}
LEVELS, CHANNELS, FRAMES, GRID = 3, 5, 2, 4
AT_FRAMES = (Fraction(1, 2), Fraction(1))


def _path(*, perturbed: bool = True) -> LinearPath:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        path = LinearPath(LEVELS, CHANNELS, FRAMES, GRID).double()
        if perturbed:
            for parameter in path.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
    return path


def _code(levels: int = LEVELS, *, perturbed: bool = False) -> LinearCode:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        code = LinearCode(levels, CHANNELS, FRAMES, GRID).double()
        if perturbed:
            for parameter in code.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
    return code


def _canonical(frames: int = FRAMES) -> Tensor:
    return random_pixels(7, frames, GRID, GRID, 3)


def _orthonormal(path: LinearCode) -> Tensor:
    """Rows of the start, to float64's precision: they are drawn in float32."""
    rows = path.encode_weight.detach().flatten(2).flatten(0, 1)
    rows = torch.linalg.qr(rows.T)[0].T.contiguous()
    path.encode_weight.data = rows.view_as(path.encode_weight)
    path.decode_weight.data = path.encode_weight.data.clone()
    return rows


def test_it_starts_as_an_orthonormal_code_decoded_by_its_transpose() -> None:
    path = _code()
    rows = path.encode_weight.detach().flatten(2).flatten(0, 1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(15).double(), rtol=0, atol=1e-5)
    assert torch.equal(path.decode_weight, path.encode_weight)
    assert (path.mean == 0.5).all()


def test_an_orthonormal_code_reconstructs_the_projection() -> None:
    path = _code()
    rows = _orthonormal(path)
    patches = _canonical()
    code = path.encode(patches, LEVELS)
    decoded = path.decode(code, AT_FRAMES)
    centred = (patches - 0.5).flatten(1)
    expected = (centred @ rows.T @ rows).view_as(patches) + 0.5
    torch.testing.assert_close(decoded, expected, **CLOSE)
    # Encoding what was decoded changes nothing more.
    torch.testing.assert_close(path.encode(decoded, LEVELS), code, **CLOSE)


def test_as_many_channels_as_values_lose_nothing() -> None:
    path = _code(levels=20)  # 100 channels for 96 values
    patches = _canonical()
    decoded = path.decode(path.encode(patches, 20), AT_FRAMES)
    torch.testing.assert_close(decoded, patches, rtol=0, atol=1e-5)


def test_each_level_of_the_code_is_computed_by_itself() -> None:
    path, patches = _code(perturbed=True), _canonical()
    whole = path.encode(patches, LEVELS)
    for count in range(1, LEVELS):
        torch.testing.assert_close(path.encode(patches, count), whole[:, :count], **CLOSE)
    weight, mean = path.encode_weight, path.mean
    by_hand = torch.einsum("ndtyxc,ptyxc->pnd", weight, patches - mean)
    torch.testing.assert_close(whole, by_hand, **CLOSE)


def test_frames_are_read_between_the_canonical_ones_and_held_before_them() -> None:
    path, code = _code(perturbed=True), random_pixels(7, LEVELS, CHANNELS)
    first, last = path.decode(code, AT_FRAMES).unbind(1)
    times = (Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(5, 8), Fraction(1))
    shares = (0, 0, 0, 0.25, 1)
    for read, share in zip(path.decode(code, times).unbind(1), shares, strict=True):
        torch.testing.assert_close(read, first + share * (last - first), **CLOSE)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_frame_is_the_same_however_many_are_asked_for(count: int) -> None:
    """More frames than the canonical ones are read from pictures, fewer from weights."""
    path, code = _code(perturbed=True), random_pixels(7, LEVELS, CHANNELS)
    times = tuple(Fraction(i + 1, count) for i in range(count))
    together = path.decode(code, times)
    for i, time in enumerate(times):
        torch.testing.assert_close(path.decode(code, (time,))[:, 0], together[:, i], **CLOSE)


def test_still_and_moving_patches_have_a_code_each() -> None:
    path = _path()
    still, moving = _canonical(frames=1), _canonical()
    torch.testing.assert_close(path.encode(still, 2), path.still.encode(still, 2), **CLOSE)
    torch.testing.assert_close(path.encode(moving, 2), path.moving.encode(moving, 2), **CLOSE)
    code, times = random_pixels(7, LEVELS, CHANNELS), (Fraction(1, 4), Fraction(1))
    for is_still, own in ((True, path.still), (False, path.moving)):
        decoded = path.decode(code, times, is_still)
        torch.testing.assert_close(decoded, own.decode(code, times), **CLOSE)
    assert path.still.mean.shape == (1, GRID, GRID, 3)
    assert path.moving.mean.shape == (FRAMES, GRID, GRID, 3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_still_code_decodes_to_frames_that_repeat(count: int) -> None:
    path, code = _path(), random_pixels(7, LEVELS, CHANNELS)
    times = tuple(Fraction(i + 1, count) for i in range(count))
    frames = path.decode(code, times, is_still=True)
    alone = path.decode(code, (Fraction(1),), is_still=True)
    torch.testing.assert_close(frames, alone.expand_as(frames), **CLOSE)
    moving = path.decode(code, (Fraction(1, 2), Fraction(1)), is_still=False)
    assert (moving[:, 0] - moving[:, 1]).abs().min(dim=0).values.max() > 1e-3
