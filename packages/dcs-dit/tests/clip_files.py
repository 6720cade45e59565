"""Videos whose frames tell their own number, and a tokenizer of clips that needs no weights."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcs_common.latents import Latents

from .labelled_files import ToyConfig, ToyTokenizer

STEP = 10
"""Grey levels between frames, more than a lossy codec takes away."""


def video_bytes(frames: int, fps: int = 8, size: tuple[int, int] = (16, 16), **more: Any) -> bytes:
    """Return an mp4 whose frame i is grey of value 10 + 10 i; its right half is half as bright."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=more.get("container", "mp4")) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p"
        for number in range(frames):
            pixels = np.full((*size, 3), STEP * (number + 1), dtype=np.uint8)
            pixels[:, size[1] // 2 :] //= 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def save_video(path: Path, frames: int, fps: int = 8, **more: Any) -> Path:
    """Write such a video; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(video_bytes(frames, fps, **more))
    return path


def frame_numbers(clip: Tensor) -> list[int]:
    """Return the numbers of a clip's frames (3, T, H, W), read from their left halves."""
    left = clip[:, :, :, : clip.shape[-1] // 2].double().mean(dim=(0, 2, 3))
    return [round(float(value) / STEP) - 1 for value in left]


@dataclass(frozen=True)
class ToyClipConfig(ToyConfig):
    segments_per_second: int = 2


class ToyClipTokenizer(ToyTokenizer):
    """The toy over clips: a segment's latents are those of the mean of its frames."""

    def __init__(self) -> None:
        super().__init__("toy-clips")
        self.config: Any = ToyClipConfig()

    def encode(
        self,
        pixels: Tensor,
        fps: Any = None,
        levels: Any = None,
        patches: int | None = None,
    ) -> Latents:
        length = int(fps) // self.config.segments_per_second
        assert not pixels.shape[2] % length, "the cache asks for whole segments"
        parts = [
            super(ToyClipTokenizer, self).encode(part.mean(dim=2), None, levels, patches)
            for part in pixels.split(length, dim=2)
        ]
        tokens = torch.cat([part.tokens for part in parts], dim=1)
        return replace(parts[0], tokens=tokens, levels=None, fps=fps, frames=pixels.shape[2])
