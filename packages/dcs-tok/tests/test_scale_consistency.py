"""One latent read at several scales shows the same content at the places that they share.

Holds where pixel tokens do not attend to one another, or are cells whose number is fixed; full
attention among source pixels (the paper) changes with their number.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcs_tok import DCSTok

from .tiny_models import CONFIGS, LEVELS, NAMES, perturbed, random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}


def _undiluted() -> DCSTok:
    config = CONFIGS["own_pixels"]()
    network = replace(config.depatchifier, pixel_logit_reference=None)
    return perturbed(replace(config, depatchifier=network))


MODELS = {
    "own_pixels": _undiluted(),
    "nano": perturbed(CONFIGS["nano"]()),
    "cells_alone": perturbed(CONFIGS["cells_alone"]()),
}


def _patches(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """(b, 3, H, W) to (b, 3, rows, columns, y, x)."""
    return pixels.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).transpose(3, 4)


@pytest.mark.parametrize("name", MODELS)
def test_pixels_at_shared_places_agree_between_sizes_and_aspect_ratios(name: str) -> None:
    tok = MODELS[name]
    latents = tok.encode(random_pixels(2, 3, 21, 27))
    assert latents.grid == (1, 3, 4)
    sizes = {"small": (3 * 7, 4 * 6), "large": (3 * 13, 4 * 11), "wide": (3 * 7, 4 * 21)}
    steps = {"small": (1, 1), "large": (2, 2), "wide": (1, 4)}
    seen = {
        scale: _patches(tok.reconstruct(latents, size=size), 3, 4)[
            ..., :: steps[scale][0], :: steps[scale][1]
        ]
        for scale, size in sizes.items()
    }
    assert seen["small"].std() > 0.01
    torch.testing.assert_close(seen["large"], seen["small"], **CLOSE)
    torch.testing.assert_close(seen["wide"], seen["small"], **CLOSE)


@pytest.mark.parametrize("name", MODELS)
def test_frames_at_shared_times_agree_between_rates(name: str) -> None:
    tok = MODELS[name]
    latents = tok.encode(random_pixels(1, 3, 8, 7, 11), fps=8)
    assert latents.grid[0] == 2
    slow = tok.reconstruct(latents, fps=8)
    fast = tok.reconstruct(latents, fps=24)
    assert slow.shape[2] == 8
    assert (slow[:, :, 1:] - slow[:, :, :-1]).abs().mean() > 1e-3
    torch.testing.assert_close(fast[:, :, 2::3], slow, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_of_one_frame_is_an_image(name: str) -> None:
    tok = perturbed(CONFIGS[name]())
    picture = random_pixels(2, 3, 7, 11)
    image = tok.encode(picture)
    clip = tok.encode(picture.unsqueeze(2), fps=5)
    assert clip.tokens.shape == image.tokens.shape
    torch.testing.assert_close(clip.tokens, image.tokens, **CLOSE)
    assert clip.num_levels == LEVELS
    torch.testing.assert_close(tok.decode(clip)[:, :, 0], tok.decode(image), **CLOSE)
