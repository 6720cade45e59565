"""Two processes, with copies of the model or parts of it, train what one process trains."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_dit.training.recipe import Recipe

from .small_dit import COMMAND_CONFIG, small_recipe, toy_cache, trained

pytestmark = pytest.mark.slow

PROCESS = """
import json, sys
from dcs_common.config import config_from_dict
from dcs_dit.cli import main
from dcs_dit.training import command
from dcs_dit.training.recipe import Recipe

recipe = config_from_dict(Recipe, json.loads(sys.argv[1]))
command.RECIPES = {"tiny": lambda: recipe}
raise SystemExit(main(["train", "tiny", *sys.argv[2:]]))
"""


def launch(recipe: Recipe, *arguments: object, processes: int = 2) -> None:
    """Train in processes started as torchrun starts them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    given = [json.dumps(config_to_dict(recipe)), *(str(argument) for argument in arguments)]
    started = []
    for rank in range(processes):
        world = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROCESS, *given],
                env=os.environ | world | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes, said


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    """Also where they stop, and one goes on."""
    cache = toy_cache(tmp_path / "cache")
    recipe = small_recipe(COMMAND_CONFIG, batch_size=4, steps=5)
    data = ("--data", cache, "--validate", cache)
    trained(*data, "--output", tmp_path / "one", recipe=recipe)
    launch(recipe, *data, "--parallel", "ddp", "--output", tmp_path / "ddp")
    part = (*data, "--output", tmp_path / "fsdp")
    launch(recipe, *part, "--parallel", "fsdp", "--steps", 3)
    trained(*part, recipe=recipe)
    expected = weights(tmp_path / "one")
    for kind in ("ddp", "fsdp"):
        found = weights(tmp_path / kind)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4, msg=f"{kind} {name}")
