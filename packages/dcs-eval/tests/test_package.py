"""The package as it is: a version and the latent format it stands for."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import dcs_common.latents
import dcs_eval

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_version_is_the_one_in_pyproject() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    assert dcs_eval.__version__ == version("dcs-eval") == declared


def test_latent_format_is_the_shared_one() -> None:
    assert isinstance(dcs_eval.LATENT_FORMAT, int)
    assert dcs_eval.LATENT_FORMAT == dcs_common.latents.LATENT_FORMAT
