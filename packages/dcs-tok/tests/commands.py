"""Running ``dcs-tok`` in this process, and what holds for every refusal."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dcs_tok.cli import main

from .tiny_models import CONFIGS, perturbed


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Command:
    """``dcs-tok``, as a shell would run it, but in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def __call__(self, *arguments: object) -> Finished:
        self._capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        said = self._capsys.readouterr()
        return Finished(code, said.out, said.err)

    def line(self, *arguments: object) -> str:
        """Run a command that must succeed in silence; return the one line that it ends with."""
        finished = self(*arguments)
        assert (finished.code, finished.err) == (0, "")
        assert re.fullmatch("[^\n]+\n", finished.out)
        return finished.out.removesuffix("\n")

    def refusal(self, *arguments: object) -> str:
        """Run a command that must refuse, in one line, and write nothing; return what it says."""
        before = contents(self._folder)
        finished = self(*arguments)
        assert contents(self._folder) == before
        assert (finished.code, finished.out) == (2, "")
        match = re.fullmatch("dcs-tok: error: ([^\n]+)\n", finished.err)
        assert match, finished.err
        return match[1]

    def misuse(self, *arguments: object) -> str:
        """Run a command whose arguments are wrong; return what it says below its usage."""
        before = contents(self._folder)
        finished = self(*arguments)
        assert contents(self._folder) == before
        assert (finished.code, finished.out) == (2, "")
        assert finished.err.startswith("usage: dcs-tok")
        return finished.err.removesuffix("\n").split(f"dcs-tok {arguments[0]}: error: ")[-1]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Return every path below a folder with its bytes."""
    return {
        path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


def save_tiny_model(folder: Path) -> Path:
    """Save a perturbed model of 5 levels, k = 3 and k_t = 2; return its folder."""
    perturbed(CONFIGS["nano"](), torch.float32).save_pretrained(folder)
    return folder
