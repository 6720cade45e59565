"""The package as it is: its version, its public names, and what importing it costs."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch

import dcs_common
from dcs_common import ImageTokenizer, Latents, resize

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_version_is_the_one_in_pyproject() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    assert dcs_common.__version__ == version("dcs-common") == declared


def test_public_names_exist() -> None:
    assert len(set(dcs_common.__all__)) == len(dcs_common.__all__)
    assert all(hasattr(dcs_common, name) for name in dcs_common.__all__)


def test_importing_everything_asks_for_nothing_heavy() -> None:
    """Every module, in a fresh interpreter; a declared extra would be imported late."""
    code = """
import importlib, pkgutil, sys
import dcs_common
for module in pkgutil.iter_modules(dcs_common.__path__):
    importlib.import_module("dcs_common." + module.name)
heavy = "av lpips matplotlib pandas PIL scipy skimage submitit tensorboard torchaudio torchmetrics"
heavy += " torchvision transformers dcs_tok dcs_dit dcs_eval"
print(sorted(set(heavy.split()) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


class Halving:
    """A tokenizer as the protocol asks for it."""

    config = SimpleNamespace(num_levels=1, latent_channels=3)

    def encode(self, pixels: torch.Tensor, fps=None, levels=None, patches=None) -> Latents:
        tokens = resize(pixels, (5, 7)).movedim(1, -1)[:, None, :, :, None]
        return Latents(tokens=tokens, size=tuple(pixels.shape[-2:]))

    def decode(self, latents: Latents, size=None, fps=None, levels=None) -> torch.Tensor:
        return resize(latents.tokens[:, 0, :, :, 0].movedim(-1, 1), size or latents.size)


def test_any_object_with_the_four_parts_is_a_tokenizer() -> None:
    assert isinstance(Halving(), ImageTokenizer)
    assert not isinstance(SimpleNamespace(config=None, encode=None), ImageTokenizer)
    picture = torch.rand(2, 3, 11, 13)
    assert Halving().decode(Halving().encode(picture)).shape == picture.shape
