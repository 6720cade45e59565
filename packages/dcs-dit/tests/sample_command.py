"""``dcs-dit sample`` in this process, on small models and with a toy tokenizer."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_dit import DCSDiT, Latents
from dcs_dit.cli import main
from dcs_dit.sampling import command
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.timing import SAMPLING_FILE

from .small_dit import CHANNELS, LEVELS, Finished, below

TOKENIZER = "0123456789abcdef"


@dataclass(frozen=True)
class ToyConfig:
    num_levels: int = LEVELS
    latent_channels: int = CHANNELS


@dataclass
class ToyTokenizer:
    """The colour of a patch is a sum over levels; later frames of a clip are lighter."""

    fingerprint: str | None = TOKENIZER
    config: ToyConfig = ToyConfig()
    asked: list[str | None] = field(default_factory=list)

    def find(self, name: str, model: str | None = None) -> ImageTokenizer:
        """Stand in for `find_tokenizer`."""
        assert name == "dcs-tok"
        self.asked.append(model)
        return self

    def encode(
        self, pixels: Tensor, fps: Any = None, levels: Any = None, patches: int | None = None
    ) -> Latents:
        raise NotImplementedError

    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Any = None,
        levels: Any = None,
    ) -> Tensor:
        weight = torch.arange(1.0, latents.num_levels + 1)[:, None]
        colours = (latents.tokens[..., :3] * weight).sum(dim=-2).sigmoid().movedim(-1, 1)
        height, width = size or latents.size
        if latents.fps is None:
            return torch.nn.functional.interpolate(colours[:, :, 0], (height, width))
        frames = torch.nn.functional.interpolate(colours, (latents.frames, height, width))
        return frames * torch.linspace(0.5, 1, latents.frames)[:, None, None]


class Command:
    """``dcs-dit sample`` in this process, on a small model and with a toy tokenizer."""

    def __init__(self, models: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.models, self.folder, self.out = models, folder, folder / "out"
        self._capsys = capsys
        self.tokenizer = ToyTokenizer()

    def model(self, kind: str = "classes") -> DCSDiT:
        return DCSDiT.from_pretrained(self.models / kind)

    def __call__(self, *arguments: object, kind: str = "classes") -> Finished:
        """Run with 2 steps, unless they say otherwise."""
        given = ["sample", "--model", self.models / kind, "--output", self.out]
        if "--continue" not in arguments:
            given += ["--steps", 2]
        self._capsys.readouterr()
        with patch.object(command, "find_tokenizer", self.tokenizer.find):
            try:
                code = main([str(argument) for argument in (*given, *arguments)])
            except SystemExit as stop:
                code = int(str(stop.code))
        said = self._capsys.readouterr()
        return Finished(code, said.out, said.err)

    def files(self, *arguments: object, kind: str = "classes", out: str = "out") -> list[str]:
        """Run a command that must succeed; return what is below its output."""
        self.out = self.folder / out
        finished = self(*arguments, kind=kind)
        assert finished.code == 0, finished
        assert not re.search("error|note", finished.err), finished.err
        return sorted(str(path.relative_to(self.out)) for path in files_of(self.out))

    def refusal(self, *arguments: object, kind: str = "classes") -> str:
        """Run a command that must refuse, in one line, and write nothing."""
        before = below(self.folder)
        finished = self(*arguments, kind=kind)
        assert below(self.folder) == before
        assert (finished.code, finished.out) == (2, ""), finished
        match = re.fullmatch("dcs-dit: error: ([^\n]+)\n", finished.err)
        assert match, finished.err
        return match[1]

    def misuse(self, *arguments: object) -> str:
        """Run a command whose arguments are wrong; return what it says below its usage."""
        finished = self(*arguments)
        assert (finished.code, finished.out) == (2, "")
        assert finished.err.startswith("usage: dcs-dit sample")
        return finished.err.removesuffix("\n").split("dcs-dit sample: error: ")[-1]


def files_of(folder: Path) -> list[Path]:
    """Return all files but the record of times, which every run writes."""
    return [p for p in folder.rglob("*") if p.is_file() and p.name != SAMPLING_FILE]


def pixels_of(path: Path) -> np.ndarray:
    """Return (H, W, 3) bytes as signed numbers."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image).astype(int)


def bytes_of(pixels: Tensor) -> np.ndarray:
    return (pixels * 255).round().to(torch.int64).movedim(0, -1).numpy()


def assert_same_pictures(found: np.ndarray, expected: np.ndarray) -> None:
    """Rounding to 8 bits may tip over, where a batch had another size."""
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= 1


def seeds_of(label: int, count: int, first: int = 0, seed: int = 0) -> tuple[int, ...]:
    """Return the seeds of samples of a class."""
    return sample_seeds(sample_seeds(seed, 1, label)[0], count, first)
