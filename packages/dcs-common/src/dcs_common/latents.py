"""The value that the packages share: hierarchical, scale-independent latents and their file."""

import json
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_common.geometry import exact_rate

LATENT_FORMAT = 1
_KIND = "dcs-latents"
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _sorted_header(data: bytes) -> bytes:
    """Sort the keys of a safetensors header: equal latents give equal bytes.

    The library writes metadata in the order of a hash map, which differs from run to run.
    """
    stop = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:stop]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[stop:]


@dataclass(frozen=True, eq=False, kw_only=True)
class Latents:
    """Latents of a batch of pictures or clips of one size and rate.

    Attributes:
        tokens: (b, t, h, w, n, c) floats: segments, patch rows, patch columns, levels, channels.
            Tokens above their patch's level count are zero.
        levels: (b, t, h, w) integers, how many levels each patch has; None fills in n.
        size: (height, width) in pixels of the source, the default size of decoding.
        fps: frames per second of the source; None for an image.
        frames: frames of the source.
        phase: in segments, how far the source's last frame lies before the end of the last
            segment; 0 unless the clip came as a stream (see :mod:`dcs_common.geometry`).
        tokenizer: fingerprint of the tokenizer that made them, or None.

    Raises:
        ValueError: if the parts do not fit together.
    """

    tokens: Tensor
    levels: Tensor = None  # type: ignore[assignment]  # filled in below
    size: tuple[int, int]
    fps: Fraction | None = None
    frames: int = 1
    phase: Fraction = Fraction(0)
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        tokens = self.tokens
        if tokens.ndim != 6 or 0 in tokens.shape or not tokens.is_floating_point():
            raise ValueError(
                "`tokens` must be floats of shape (b, t, h, w, n, c), but are "
                f"{tokens.dtype} of shape {tuple(tokens.shape)}."
            )
        levels = self.levels
        if levels is None:
            levels = torch.full(tokens.shape[:4], tokens.shape[4], dtype=torch.int64)
            object.__setattr__(self, "levels", levels.to(tokens.device))
        elif tuple(levels.shape) != tuple(tokens.shape[:4]) or levels.dtype not in _INTEGERS:
            raise ValueError(
                f"`levels` must be integers of shape {tuple(tokens.shape[:4])}, but are "
                f"{levels.dtype} of shape {tuple(levels.shape)}."
            )
        elif int(levels.min()) < 1 or int(levels.max()) > tokens.shape[4]:
            raise ValueError(
                f"`levels` must be between 1 and {tokens.shape[4]}, but range from "
                f"{int(levels.min())} to {int(levels.max())}."
            )
        size = tuple(int(extent) for extent in self.size)
        if len(size) != 2 or size[0] < tokens.shape[2] or size[1] < tokens.shape[3]:
            raise ValueError(
                "`size` must be (height, width) with at least one pixel per patch of the "
                f"{tokens.shape[2]} x {tokens.shape[3]} grid, but is {self.size}."
            )
        object.__setattr__(self, "size", size)
        if self.fps is not None:
            object.__setattr__(self, "fps", exact_rate(self.fps))
        if self.frames < 1 or (self.fps is None and (self.frames != 1 or tokens.shape[1] != 1)):
            raise ValueError(
                "An image has one frame in one segment and a clip needs `fps`, but `fps` is "
                f"{self.fps} for {self.frames} frames in {tokens.shape[1]} segments."
            )
        if not 0 <= self.phase < 1:
            raise ValueError(
                f"`phase` must be a part of a segment in [0, 1), but is {self.phase}. "
                "It is 0 unless the clip came as a stream."
            )
        if not isinstance(self.tokenizer, str | None):
            raise ValueError(
                f"`tokenizer` must be a fingerprint or None, but is {self.tokenizer!r}."
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """(segments, rows, columns)."""
        t, h, w = self.tokens.shape[1:4]
        return t, h, w

    @property
    def patches(self) -> int:
        """k, the number of patches along the short side."""
        return min(self.tokens.shape[2:4])

    @property
    def num_levels(self) -> int:
        """n, the number of levels that ``tokens`` has room for."""
        return self.tokens.shape[4]

    def take_levels(self, levels: int) -> "Latents":
        """Return the prefix of at most ``levels`` levels of every patch.

        Raises:
            ValueError: if ``levels`` is not between 1 and :attr:`num_levels`.
        """
        if not 1 <= levels <= self.num_levels:
            raise ValueError(
                f"`levels` must be between 1 and {self.num_levels}, but is {levels}. "
                f"These latents hold {self.num_levels} levels."
            )
        return replace(
            self, tokens=self.tokens[..., :levels, :], levels=self.levels.clamp(max=levels)
        )

    def to(self, *args: Any, **kwargs: Any) -> "Latents":
        """Move or cast the tokens as :meth:`torch.Tensor.to`; ``levels`` follow the device."""
        tokens = self.tokens.to(*args, **kwargs)
        return replace(self, tokens=tokens, levels=self.levels.to(tokens.device))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file: one tensor of active tokens per level, and the level map.

        The file appears under its name only when it is complete.
        """
        tokens, levels = self.tokens.detach().cpu(), self.levels.cpu()
        tensors = {"levels": levels.to(torch.uint8 if self.num_levels < 256 else torch.int32)}
        for level in range(1, self.num_levels + 1):
            active = tokens[..., level - 1, :][levels >= level]
            tensors[f"level.{level}"] = active.contiguous()
        about = {
            "size": list(self.size),
            "fps": None if self.fps is None else str(self.fps),
            "frames": self.frames,
            "phase": str(self.phase),
            "tokenizer": self.tokenizer,
        }
        metadata = {"kind": _KIND, "format": str(LATENT_FORMAT), "about": json.dumps(about)}
        write_atomically(path, _sorted_header(to_safetensors(tensors, metadata)))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Latents":
        """Read a file written by :meth:`save`.

        Raises:
            ValueError: if the file is missing, cut, of another kind or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"A latent file must exist, but {path} does not. Check the path.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("kind") != _KIND:
                    raise ValueError(
                        f"A latent file must be of the kind {_KIND!r}, but {path} is not. "
                        "Write it with `Latents.save` or `dcs-tok encode`."
                    )
                if metadata.get("format") != str(LATENT_FORMAT):
                    raise ValueError(
                        f"The latent format must be {LATENT_FORMAT}, but {path} has format "
                        f"{metadata.get('format')!r}. Update dcs-common."
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"A latent file must be a whole safetensors file, but {path} cannot be read "
                f"({error}). It may be cut short or another kind of file; write it again."
            ) from None
        try:
            return cls._from_tensors(tensors, json.loads(metadata["about"]))
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise ValueError(
                f"A latent file must be consistent, but {path} is not ({error}). Write it again."
            ) from None

    @classmethod
    def _from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> "Latents":
        levels = tensors["levels"].long()
        num_levels = len(tensors) - 1
        first = tensors["level.1"]
        if levels.ndim != 4 or first.ndim != 2 or first.dtype not in _DTYPES:
            raise ValueError("wrong shapes or types")
        if num_levels > 64:
            raise ValueError(f"{num_levels} levels")
        active = [levels >= level for level in range(1, num_levels + 1)]
        for level, where in enumerate(active, start=1):
            # Checked before memory is taken; an assignment would stretch a single row.
            shape = (int(where.sum()), first.shape[1])
            if tuple(tensors[f"level.{level}"].shape) != shape:
                raise ValueError(f"level {level} does not hold {shape[0]} tokens")
        tokens = first.new_zeros(*levels.shape, num_levels, first.shape[1])
        for level, where in enumerate(active, start=1):
            tokens[..., level - 1, :][where] = tensors[f"level.{level}"]
        if not all(math.isfinite(x) for x in torch.stack(torch.aminmax(tokens)).tolist()):
            raise ValueError("tokens that are not finite")
        return cls(
            tokens=tokens,
            levels=levels,
            size=tuple(about["size"]),
            fps=None if about["fps"] is None else Fraction(about["fps"]),
            frames=int(about["frames"]),
            phase=Fraction(about["phase"]),
            tokenizer=about["tokenizer"],
        )
