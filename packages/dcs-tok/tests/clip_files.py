"""Clips to write and read in tests."""

import io
import wave
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_tok.clips import write_clip


def moving_bars(frames: int, height: int, width: int) -> Tensor:
    """Soft bars that move over a slope of colour, which a codec keeps well: (3, T, H, W)."""
    t = torch.arange(frames)[:, None, None] / 12
    y = torch.linspace(0, 1, height)[None, :, None]
    x = torch.linspace(0, 1, width)[None, None, :]
    bars = 0.5 + 0.3 * torch.sin(2 * (x + y) + t)
    slope = 0.2 + 0.6 * y.expand(frames, height, width)
    return torch.stack([bars, slope, 1 - bars])


def flat_greys(values: list[float], height: int, width: int) -> Tensor:
    """One grey per frame: (3, T, H, W)."""
    return torch.tensor(values)[None, :, None, None].expand(3, -1, height, width)


def clip_file(path: Path, frames: int, height: int, width: int, fps: Rate) -> Path:
    """Write moving bars; return the path."""
    write_clip(path, moving_bars(frames, height, width), fps)
    return path


def sound_file(path: Path) -> Path:
    """Write a file that PyAV reads and that holds no video; return the path."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    path.write_bytes(buffer.getvalue())
    return path
