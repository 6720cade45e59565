"""What a call asks to be decoded: latents cut to its levels and the pixels they are to fill."""

from dataclasses import replace

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid, Rate, exact_rate, frames_at_rate, segment_frames
from dcs_common.latents import Latents
from dcs_common.levels import check_level_map
from dcs_tok.config import DCSTokConfig
from dcs_tok.pixels import check_size
from dcs_tok.posterior import mean_alone


def decoding_target(
    latents: Latents,
    size: tuple[int, int] | None,
    fps: Rate | None,
    levels: int | Tensor | None,
    config: DCSTokConfig,
    fingerprint: str | None,
) -> tuple[Latents, PatchGrid]:
    """Check a request; return latents cut to the asked levels and the grid to fill.

    Args:
        latents, size, fps, levels: as of :meth:`dcs_tok.DCSTok.decode`.
        config, fingerprint: the tokenizer's.

    Raises:
        ValueError: naming requirement, value and remedy.
    """
    latents = mean_alone(latents, config)
    _check_origin(latents, config, fingerprint)
    if levels is not None:
        latents = _cut(latents, levels)
    size = latents.size if size is None else check_size(size)
    segments, rows, columns = latents.grid
    if latents.fps is None:
        if fps is not None:
            raise ValueError(f"Images have no frame rate, but `fps` is {fps}. Leave it out.")
        spans = segment_frames(1, None, config.segments_per_second)
    else:
        rate = latents.fps if fps is None else exact_rate(fps)
        spans = segment_frames(
            frames_at_rate(latents.frames, latents.fps, rate),
            rate,
            config.segments_per_second,
            latents.phase,
            segments,
        )
    return latents, PatchGrid(size, rows, columns, spans)


def _check_origin(latents: Latents, config: DCSTokConfig, fingerprint: str | None) -> None:
    if latents.tokens.shape[5] != config.latent_channels:
        raise ValueError(
            f"Latents must have {config.latent_channels} channels for this model, but have "
            f"{latents.tokens.shape[5]}. Decode them with the model that made them."
        )
    if latents.num_levels > config.num_levels:
        raise ValueError(
            f"Latents must have at most {config.num_levels} levels for this model, but have "
            f"{latents.num_levels}. Cut them with `take_levels` or use their own model."
        )
    if None not in (latents.tokenizer, fingerprint) and latents.tokenizer != fingerprint:
        raise ValueError(
            f"Latents must come from the tokenizer that decodes them ({fingerprint}), "
            f"but come from {latents.tokenizer}. Load that model."
        )


def _cut(latents: Latents, levels: int | Tensor) -> Latents:
    shape = tuple(latents.levels.shape)
    level_map = check_level_map(levels, shape, latents.num_levels)
    kept = torch.minimum(level_map.to(latents.levels.device), latents.levels.long())
    return replace(latents, tokens=latents.tokens[..., : int(kept.max()), :], levels=kept)


def still_segments(latents: Latents, segments_per_second: int) -> tuple[bool, ...]:
    """Tell of each segment whether its source held a single frame."""
    spans = segment_frames(
        latents.frames, latents.fps, segments_per_second, latents.phase, latents.grid[0]
    )
    return tuple(len(span.times) == 1 for span in spans)
