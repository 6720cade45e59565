"""Labelled pictures, a tokenizer that needs no weights, and caches made with it."""

import argparse
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_common.latents import Latents
from dcs_dit.data import (
    CacheConfig,
    CacheResult,
    LatentCaching,
    cache_command,
    find_labelled_pictures,
)

CLASSES = {"owl": 5, "fox": 4, "bee": 8}
"""17 pictures: no shard or batch size below divides it."""
SMALL = CacheConfig(size=(12, 12), samples_per_shard=4, batch_size=3)


def error(message: str) -> Any:
    """Expect a ValueError that says exactly this."""
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw 8-bit RGB, every value equally likely: (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 12)) -> Path:
    """Write a picture of noise; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*size, seed)).save(path)
    return path


def class_folder(folder: Path, classes: Mapping[str, int] = CLASSES) -> Path:
    """Write a sub-folder for every class, with so many pictures; return the folder."""
    seed = 0
    for name, count in classes.items():
        for number in range(count):
            save_picture(folder / name / f"{name}-{number}.png", seed)
            seed += 1
    return folder


def flat_folder(folder: Path, count: int) -> Path:
    """Write pictures 0.png, 1.png and so on; return the folder."""
    for number in range(count):
        save_picture(folder / f"{number}.png", number)
    return folder


def zip_of(folder: Path, path: Path, prefix: str = "") -> Path:
    """Put all files below a folder into a zip; return its path."""
    with ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def table(path: Path, columns: Sequence[str], *rows: Sequence[object]) -> Path:
    """Write a CSV table; return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@dataclass(frozen=True)
class ToyConfig:
    num_levels: int = 3
    latent_channels: int = 2


class ToyTokenizer:
    """Levels are powers of the mean colour of a patch, so that a mirrored picture is told apart."""

    def __init__(self, fingerprint: str | None = "toy-1", scale: float = 1.0) -> None:
        self.config = ToyConfig()
        self.fingerprint = fingerprint
        self.scale = scale
        self.calls = 0

    def encode(
        self,
        pixels: Tensor,
        fps: Any = None,
        levels: Any = None,
        patches: int | None = None,
    ) -> Latents:
        self.calls += 1
        k, n = patches or 2, levels or self.config.num_levels
        height, width = pixels.shape[-2:]
        side = min(height, width) // k
        means = torch.nn.functional.avg_pool2d(pixels, side).movedim(1, -1)[:, None]
        powers = [means[..., :2] ** power for power in range(1, n + 1)]
        return Latents(
            tokens=self.scale * torch.stack(powers, dim=-2),
            size=(height, width),
            tokenizer=self.fingerprint,
        )

    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Fraction | None = None,
        levels: Any = None,
    ) -> Tensor:
        raise NotImplementedError


class ToyPosterior(ToyTokenizer):
    """Means as the toy's tokens, and deviations that differ by level, channel and patch."""

    def encode(
        self,
        pixels: Tensor,
        fps: Any = None,
        levels: Any = None,
        patches: int | None = None,
    ) -> Latents:
        mean = super().encode(pixels, fps, levels, patches)
        std = 0.05 + 0.5 * mean.tokens.flip(-1).square()
        return replace(mean, tokens=torch.cat([mean.tokens, std], dim=-1))


def make_cache(
    folder: Path,
    sources: Sequence[Path],
    config: CacheConfig = SMALL,
    *,
    labels: Path | None = None,
    tokenizer: ToyTokenizer | None = None,
    name: str = "toy",
    jobs: int = 1,
    job: int = 0,
) -> CacheResult:
    """Make a cache, or one job's part of it."""
    caching = LatentCaching(
        find_labelled_pictures(sources, labels),
        tokenizer or ToyTokenizer(),
        config,
        name=name,
        model="toy-nano",
    )
    return caching.run(folder, jobs=jobs, job=job)


def run_command(*arguments: object, tokenizer: ToyTokenizer | None = None) -> str:
    """Run ``dcs-dit cache`` with the toy; return what it says at the end."""
    parser = argparse.ArgumentParser()
    cache_command.add_arguments(parser)
    found = tokenizer or ToyTokenizer()
    with patch.object(cache_command, "find_tokenizer", lambda name, model: found):
        return cache_command.run(parser.parse_args([str(argument) for argument in arguments]))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a cache by name, without what a killed job left behind."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }
