"""On a CUDA device the tokenizer does what it does on a CPU."""

from pathlib import Path

import pytest
import torch
from skimage import data

from dcs_tok import DCSTok
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.pictures import write_picture

from .commands import Command

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255


def test_latents_and_pixels_are_those_of_the_cpu() -> None:
    pixels = photo()
    tok = DCSTok.from_pretrained()
    here = tok.encode(pixels, patches=24)
    decoded = tok.decode(here, size=(300, 200))
    tok = tok.to("cuda")
    there = tok.encode(pixels.cuda(), patches=24)
    assert there.tokens.is_cuda
    torch.testing.assert_close(there.tokens.cpu(), here.tokens, atol=5e-3, rtol=5e-3)
    again = tok.decode(here.to("cuda"), size=(300, 200))
    torch.testing.assert_close(again.cpu(), decoded, atol=5e-3, rtol=0)


def test_previews_end_with_the_joint_decode() -> None:
    tok = DCSTok.from_pretrained().to("cuda")
    latents = tok.encode(photo().cuda())
    *_, last = tok.decode_progressive(latents)
    torch.testing.assert_close(last.pixels, tok.decode(latents), atol=1e-5, rtol=0)


def test_the_context_network_sees_what_it_sees_on_the_cpu() -> None:
    torch.manual_seed(0)
    network = ContextNetwork(3, 4, width=8)
    symbols = torch.randint(-2, 3, (2, 1, 5, 6, 3, 4)).float()
    conditions = torch.tensor([3, 60]), torch.tensor([8, 10])
    here = network(symbols, *conditions)
    there = network.cuda()(symbols.cuda(), *conditions)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.cpu(), one, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("recipe", ["nano", "nano-rate"])
def test_training_runs_and_resumes(recipe: str, tmp_path: Path, command: Command) -> None:
    write_picture(tmp_path / "photo.png", photo()[0])
    arguments = ("train", recipe, "--data", tmp_path / "photo.png", "--clip-share", 0)
    run = ("--batch-size", 4, "--device", "cuda", "--output", tmp_path / "run")
    started = command(*arguments, *run, "--steps", 2, "--init-from", "dcs-tok-nano")
    assert started.code == 0, started.err
    assert "4 steps" in command.line(*arguments, *run, "--steps", 4)
