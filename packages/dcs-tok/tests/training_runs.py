"""Small recipes, batches and commands for tests of training."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_tok import DCSTokConfig
from dcs_tok.data import ScaleConfig, TrainingBatch
from dcs_tok.training import LevelSampling, LossWeights, Recipe

from .picture_files import small_photo
from .tiny_models import CONFIGS, random_pixels


def recipe(
    model: str | DCSTokConfig = "nano",
    losses: LossWeights | None = None,
    levels: LevelSampling | None = None,
    **training: object,
) -> Recipe:
    """Return a small recipe of one picture size."""
    config = CONFIGS[model]() if isinstance(model, str) else model
    settings = {"steps": 6, "batch_size": 4, "precision": "float32", "clip_norm": None}
    return Recipe(
        name="test",
        model=config,
        scales=ScaleConfig(short_sides=(24,), patches=(3,)),
        levels=levels or LevelSampling(),
        losses=losses or LossWeights(),
        training=TrainingConfig(
            optimizer=OptimizerConfig(learning_rate=1e-3), **{**settings, **training}
        ),
    )


def batch(size: int = 4, *, target: tuple[int, int] | None = None) -> TrainingBatch:
    """Return random pictures, float64."""
    pixels = random_pixels(size, 3, 13, 17)
    return TrainingBatch(
        pixels=pixels,
        target=pixels if target is None else random_pixels(size, 3, *target, seed=1),
        fps=None,
        target_fps=None,
        patches=3,
        names=tuple(str(i) for i in range(size)),
    )


def part(whole: TrainingBatch, start: int, stop: int) -> TrainingBatch:
    """Return some samples of a batch."""
    pixels = whole.pixels[start:stop]
    target = pixels if whole.is_symmetric else whole.target[start:stop]
    return replace(whole, pixels=pixels, target=target, names=whole.names[start:stop])


def photos(folder: Path, count: int = 5) -> Path:
    """Fill a folder with the bundled photo at several sizes."""
    folder.mkdir()
    for i in range(count):
        small_photo(folder / f"{i}.png", 70 + i, 80 + 2 * i)
    return folder


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return copies of all gradients by name."""
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def in_process(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """Start ``dcs-tok`` as a process of its own, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "dcs_tok.cli", *(str(argument) for argument in arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]") -> str:
    """Wait for a command that must succeed; return what it says."""
    said, complaints = process.communicate()
    assert process.returncode == 0, complaints
    return said
